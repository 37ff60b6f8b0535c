"""Which components are installed, and in which version of the code."""
