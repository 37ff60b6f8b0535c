"""The reward `grounded_citations` for eagbench."""
