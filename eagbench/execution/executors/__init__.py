"""Executors, one module each: they walk a plan. They know order and failure, never what a stage does."""
