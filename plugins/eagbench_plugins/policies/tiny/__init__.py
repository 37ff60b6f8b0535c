"""`tiny`: a language model of about a million parameters, built and pre-trained for format on the CPU in seconds."""
