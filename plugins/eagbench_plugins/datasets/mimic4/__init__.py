"""MIMIC-IV, and a synthetic hospital in the same form."""
