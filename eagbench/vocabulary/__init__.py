"""The clinical vocabulary: what quantities are called, their units, and what is plausible."""
