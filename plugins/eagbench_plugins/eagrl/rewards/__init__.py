"""Rewards of a trajectory. In all of them an answer that can't be read gets less than the worst one that can."""
