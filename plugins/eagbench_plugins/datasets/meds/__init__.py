"""Any source converted to MEDS, the Medical Event Data Standard."""
