"""`smollm2`: SmolLM2-135M-Instruct, a small pre-trained language model that a Python package carries."""
