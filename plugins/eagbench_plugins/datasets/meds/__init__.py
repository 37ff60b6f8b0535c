"""MEDS, the Medical Event Data Standard: any source that was converted to it."""
