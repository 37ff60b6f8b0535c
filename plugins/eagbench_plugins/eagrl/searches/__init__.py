"""Searches for trajectories of high reward on training cases, all within the same token budget per case."""
