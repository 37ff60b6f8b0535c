"""Sweeps: Optuna over any path of a benchmark, on tuning cases only."""
