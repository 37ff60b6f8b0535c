"""The core's own stages. Each module has the functions of one step from data to score."""
