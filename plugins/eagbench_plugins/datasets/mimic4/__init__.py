"""MIMIC-IV, read through PyHealth, and a synthetic hospital in the same form."""
