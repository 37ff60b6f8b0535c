"""`eagbench verify`: recompute a run's tables and leakage proof from the contents of its run folder."""
