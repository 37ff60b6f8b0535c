"""The run folder: its contents, and how it is written, read, verified and compared."""
