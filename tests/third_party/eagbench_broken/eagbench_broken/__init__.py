"""A package whose plugin fails when it is imported."""
