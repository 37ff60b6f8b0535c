"""Shows a policy the records it learns from under other names of their features, too.

The names are those of the vocabulary that are to be trained with (`other_names`): the rest stays unseen, for the
perturbations `feature_synonyms` and `feature_abbreviations` with `names: test`.
"""

from __future__ import annotations

import numpy as np

from eagbench.api import Case, Cases, other_names, under_other_names

# Of each record: as it is, and under names drawn anew.
VERSIONS = 8


class NameAugmentation:
    """Writes records under other names.

    Args:
        cases: Describes the features.
        share: Largest share of the features that have such a name; 0 changes nothing.
        seed: Seed of the draws.
    """

    def __init__(self, cases: Cases, share: float, seed: int) -> None:
        self._names = other_names(cases.features, ("synonym", "abbreviation"), "train") if share else {}
        self._share, self._seed = share, seed

    def versions(self, case: Case, position: int) -> list[Case]:
        """Return a record as it is and, if names change, seven times under others, the share drawn anew each time.

        Args:
            case: The record.
            position: Tells the draws of records apart.
        """
        if not self._names:
            return [case]
        rng = np.random.default_rng([self._seed, 7, position])
        drawn = [(float(rng.uniform(0, self._share)), int(rng.integers(2**32))) for _ in range(VERSIONS - 1)]
        return [case, *(under_other_names(case, self._names, share, seed) for share, seed in drawn)]
