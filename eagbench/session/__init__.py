"""Runs from Python and notebooks: start one, open one, list them; the command line stands on it."""
