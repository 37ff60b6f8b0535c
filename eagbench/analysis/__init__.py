"""From scored answers to tables: evaluation, paired differences, robustness, transfer."""
