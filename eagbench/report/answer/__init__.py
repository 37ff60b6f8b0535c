"""The first lines of a report: they answer the benchmark's question with the run's own numbers."""
