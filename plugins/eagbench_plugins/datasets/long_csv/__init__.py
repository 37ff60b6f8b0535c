"""One's own records as CSV: a row per measurement, and a file of outcomes."""
