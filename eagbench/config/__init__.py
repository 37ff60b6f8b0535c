"""A benchmark as the user writes it."""
