"""The expert `shock_index` for eagbench."""
