"""Searches for high-reward trajectories on training cases, all within the same token budget per case."""
