"""A cohort on one page: who is in it, what was measured when, and hints at leaks of the outcome into the records."""
