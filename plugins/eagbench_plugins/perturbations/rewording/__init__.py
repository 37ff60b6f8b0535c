"""The perturbation of the words around a record, with its paraphrases: a prompt file for each."""
