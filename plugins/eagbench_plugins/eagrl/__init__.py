"""EAG-RL (arXiv 2508.13579): searches, rewards, trajectory distillation."""
