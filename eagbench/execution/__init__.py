"""Carry out a plan: the store, the runner, executors, progress and trackers."""
