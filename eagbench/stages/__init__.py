"""The core's own stages. Each module holds the functions of one step of the way from data to score."""
