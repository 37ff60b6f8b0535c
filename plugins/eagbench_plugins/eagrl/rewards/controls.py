"""What a citation earns beyond lists that were not made for the patient.

    R_att' = max(0, J - C) / (1 - C)

J is the overlap of the cited features with the expert's, and C that of the best of three controls with the expert's:
the frequency baseline, the expert's lists for other patients, and those for patients of like risk, each cut to what was
measured in the patient and refilled (`control_overlaps`). So what fits everybody earns nothing, and the expert's own
list earns 1. Without the bound at 0 nothing would change in Stage II: C is the same for a whole group of answers, and
their advantages hold only differences. Where a control equals the expert's list, nothing can be earned.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eagbench.api import Case, Cases, CitedCases, control_overlaps
from eagbench_plugins.eagrl.rewards.parts import expert_features


class CitationControls:
    """The overlap of the best control with the expert's list, for each training case.

    Args:
        k: Number of expert features.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._best: dict[str, float] | None = None

    def fit(self, cases: Cases, salience: Mapping[str, Mapping[str, float]], risk: Mapping[str, float]) -> None:
        """Compute the controls of training cases.

        Args:
            cases: The training cases.
            salience: The cross-fitted expert's weights of each, by case id.
            risk: Its probability for each, by case id.
        """
        lists, measured = [], []
        for case in cases:
            weights = salience[case.case_id]
            lists.append(expert_features(case, weights, self._k))
            measured.append([name for name in case.observed() if name in weights])
        names = list(next(iter(salience.values()))) if salience else []
        on_top = {name: sum(name in listed for listed in lists) for name in names}
        ranking = sorted(names, key=lambda name: -on_top[name])
        risks = np.array([risk[case_id] for case_id in cases.case_ids])
        found = control_overlaps(CitedCases(lists, lists, measured, risks, cases.patient_ids), ranking, self._k)
        best = np.fmax.reduce(found, axis=1).tolist()  # without another patient only the baseline is there
        self._best = dict(zip(cases.case_ids, best, strict=True))

    def beyond(self, case: Case, overlap: float) -> float:
        """Return R_att', from 0 to 1, for an overlap of a training case's citations with the expert's features.

        Raises:
            ValueError: `fit` did not see the case.
        """
        if self._best is None or case.case_id not in self._best:
            raise ValueError(f"case {case.case_id}: its controls are unknown, because `fit` did not see it")
        control = self._best[case.case_id]
        return max(0.0, overlap - control) / (1 - control) if control < 1 else 0.0
