"""Shows a policy the records it learns from in other versions, too: under other names, and in other orders.

The names are those of the vocabulary that are to be trained with (`other_names`): the rest stays unseen, for the
perturbations `feature_synonyms` and `feature_abbreviations` with `names: test`. In orders of its own a record is harder
to learn by heart, and a value means the same wherever it stands.
"""

from __future__ import annotations

import numpy as np

from eagbench.api import Case, TrainingNames

# Of each record: as it is, and drawn anew.
VERSIONS = 8


class RecordVersions:
    """Writes records under other names and in other orders.

    Args:
        names: The other names; none if they change nothing.
        orders: Put the features in other orders.
        seed: Seed of the draws.
    """

    def __init__(self, names: TrainingNames, orders: bool, seed: int) -> None:
        self._names, self._orders, self._seed = names, orders, seed

    def of(self, case: Case, position: int) -> list[Case]:
        """Return a record as it is and, if anything is to change, seven versions of it.

        With both other names and other orders, every second version has one of them: among names that it hasn't met a
        policy can still go by their order.

        Args:
            case: The record.
            position: Tells the draws of records apart.
        """
        if not (self._names or self._orders):
            return [case]
        rng = np.random.default_rng([self._seed, 7, position])
        return [case, *(self._version(case, number, rng) for number in range(VERSIONS - 1))]

    def _version(self, case: Case, number: int, rng: np.random.Generator) -> Case:
        if self._names and not (self._orders and number % 2):
            return self._names.draw(case, rng)
        return case.with_columns(rng.permutation(len(case.features)))
