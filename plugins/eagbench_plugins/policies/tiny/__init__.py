"""`tiny`: a language model of about a million parameters.

It is built and pre-trained on the answer formats in seconds on the CPU.
"""
