"""Baselines with a frozen language model: hybrids with an expert, and training cases in the prompt."""
