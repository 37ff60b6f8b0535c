"""From a benchmark to its plan: every stage and cell, before anything runs."""
