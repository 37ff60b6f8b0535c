"""`eagbench verify`: a run's tables and its leakage proof, computed again from what the run folder holds."""
