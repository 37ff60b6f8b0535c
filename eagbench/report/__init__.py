"""The report of a run: one offline page, and its tables in other formats. Reads a run folder and nothing else."""
