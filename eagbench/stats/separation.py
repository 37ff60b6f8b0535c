"""How well one number alone separates cases with the outcome from those without, with an interval.

The area under the ROC curve (AUROC), and its standard error from each patient's contribution to it: the structural
components of DeLong, DeLong and Clarke-Pearson (Biometrics 1988), summed over a patient's cases as Obuchowski
(Biometrics 1997) does for clustered data, because cases of one patient are not independent. The interval is symmetric
on the log-odds scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtri

from eagbench.contracts.records import FloatArray, IntArray
from eagbench.stats.delong import structural_components


@dataclass(frozen=True, slots=True)
class Separation:
    """An AUROC, from below 0.5 (cases with the outcome have lower numbers) to above.

    Attributes:
        auroc: The area.
        low: Lower end of its interval; NaN for an area of 0 or 1, or with fewer than two patients.
        high: Upper end.
        n_positive: Cases with the outcome.
        n_negative: Cases without.
    """

    auroc: float
    low: float
    high: float
    n_positive: int
    n_negative: int

    @property
    def strength(self) -> float:
        """The area in the better direction, 0.5 to 1."""
        return max(self.auroc, 1 - self.auroc)

    @property
    def surely(self) -> float:
        """The end of the interval that is nearer to 0.5, in the better direction; without an interval the area."""
        if np.isnan(self.low):
            return self.strength
        return self.low if self.auroc >= 0.5 else 1 - self.high


def separation(numbers: FloatArray, labels: IntArray, patients: Sequence[str], level: float) -> Separation:
    """Compute how well a number separates the classes.

    Args:
        numbers: Shape (N,), without NaN.
        labels: 0 or 1, shape (N,), at least one of each.
        patients: The patient of each case, length N.
        level: Coverage of the interval.
    """
    components = structural_components(numbers, labels)
    area, is_positive = components.auroc, np.asarray(labels) == 1
    contribution = np.empty(len(numbers))  # (N,), sums to 0
    contribution[is_positive] = (components.positive - area) / max(1, len(components.positive))
    contribution[~is_positive] = (components.negative - area) / max(1, len(components.negative))
    _, owner = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    of_patient = np.bincount(owner, weights=contribution)  # (P,)
    n_patients = len(of_patient)
    low = high = float("nan")
    if n_patients > 1 and 0 < area < 1:
        error = float(np.sqrt(n_patients / (n_patients - 1) * np.sum(of_patient**2)))
        reach = float(ndtri((1 + level) / 2)) * error / (area * (1 - area))
        low, high = (float(end) for end in expit(logit(area) + np.array([-reach, reach])))
    return Separation(area, low, high, int(is_positive.sum()), int((~is_positive).sum()))
