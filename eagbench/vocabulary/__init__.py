"""The clinical vocabulary: names, units and plausible ranges of quantities."""
