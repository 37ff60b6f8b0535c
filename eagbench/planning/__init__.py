"""Turn a benchmark into its plan: every stage and cell, before anything runs."""
