"""Logistic recalibration: a curve that is fitted to tuning answers and applied to held-out ones.

p' = expit(a + b logit(p)) (Cox, Biometrika 1958; Platt 1999 for scores), fitted by maximum likelihood. It corrects
answers that are too extreme, or too high overall. It keeps their order if b is above 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from eagbench.contracts.records import FloatArray, IntArray
from eagbench.stats.logistic import fit_line, log_odds

# Below either, a fit of two numbers is worse than none (DESIGN.md, section 2).
FEWEST_CASES, FEWEST_EVENTS = 100, 20


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A fitted curve, or the reason why there is none.

    Attributes:
        n_cases: Tuning cases with a parsed answer.
        n_positive: Events among them.
        intercept: a, None without a fit.
        slope: b, None without a fit.
        reason: Why there is no fit; None if there is one.
    """

    n_cases: int
    n_positive: int
    intercept: float | None = None
    slope: float | None = None
    reason: str | None = None

    def apply(self, probability: FloatArray) -> FloatArray:
        """Recalibrate probabilities; same shape.

        Raises:
            ValueError: There is no fit.
        """
        if self.intercept is None or self.slope is None:
            raise ValueError(f"nothing was fitted: {self.reason}")
        curve: FloatArray = expit(self.intercept + self.slope * log_odds(probability))
        return curve


def fit_recalibration(probability: FloatArray, label: IntArray) -> Recalibration:
    """Fit the curve on tuning cases.

    Args:
        probability: Parsed answers, shape (N,).
        label: Their labels, shape (N,).

    Returns:
        The curve. It is not fitted if there are fewer than 100 cases or fewer than 20 of the rarer class, or if the
        answers are all the same or separate the classes.
    """
    n, events = len(label), int(np.sum(label))
    rarer = min(events, n - events)
    if n < FEWEST_CASES or rarer < FEWEST_EVENTS:
        reason = (
            f"{n} tuning cases with an answer, {rarer} of the rarer class; "
            f"recalibration takes {FEWEST_CASES} and {FEWEST_EVENTS}"
        )
        return Recalibration(n, events, reason=reason)
    (intercept,), (slope,) = fit_line(log_odds(probability), label, np.ones((1, n)))
    if np.isnan(slope):
        same = np.ptp(log_odds(probability)) < 1e-9
        return Recalibration(
            n, events, reason="all tuning answers are the same" if same else "the tuning answers separate the classes"
        )
    return Recalibration(n, events, float(intercept), float(slope))
