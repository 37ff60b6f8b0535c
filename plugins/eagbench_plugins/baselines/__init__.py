"""Baselines that leave the language model as it is: hybrids with an expert, and cases in the prompt."""
