"""The difference between two methods on the same patients, from resamples that both share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from eagbench.contracts.records import FloatArray
from eagbench.stats.bootstrap import percentile_intervals
from eagbench.stats.zero import ZERO

# z(0.975) + z(0.80): a true difference of so many standard errors is found with 80 % power by a two-sided test at 5 %.
DETECTABLE_STANDARD_ERRORS = 2.8

# A larger share of undefined resamples, and the draws' standard deviation is not to be trusted far from them.
_MOST_UNDEFINED = 1 / 200
# Resampled differences that agree to so many decimals of the largest one are the same.
_SAME_DECIMALS = 6


@dataclass(frozen=True, eq=False)
class PairedDifference:
    """Statistics of a difference from its resamples.

    All numbers but `undefined` are NaN if more than half of the resamples are undefined. The p-value and the test are
    found when they are first asked for, because most differences of a large run are no tests.

    Attributes:
        ci_low: Lower end of the percentile interval.
        ci_high: Upper end.
        standard_error: Standard deviation of the resampled differences.
        undefined: Number of resamples with an undefined difference; they are left out.
        draws: The difference on each resample, shape (B,).
    """

    ci_low: float
    ci_high: float
    standard_error: float
    undefined: int
    draws: FloatArray = field(repr=False)

    @property
    def smallest_detectable(self) -> float:
        """2.8 standard errors: the true difference that a test at 5 % finds with 80 % power."""
        return DETECTABLE_STANDARD_ERRORS * self.standard_error

    @cached_property
    def p_value(self) -> float:
        """Two-sided, see `bootstrap_p_value`; NaN if the difference is 0 on every resample.

        The two are then the same by construction, and there is nothing to test.
        """
        return bootstrap_p_value(self._defined, self.undefined) if self._is_test else float("nan")

    @cached_property
    def test(self) -> str:
        """Identifies the resampled differences up to a positive factor; empty without a p-value."""
        return _name(self.draws) if self._is_test else ""

    @cached_property
    def _defined(self) -> FloatArray:
        return self.draws[~np.isnan(self.draws)] if self.undefined else self.draws

    @cached_property
    def _is_test(self) -> bool:
        return not np.isnan(self.ci_low) and bool(np.abs(self._defined).max() > ZERO)


def paired_difference(draws: FloatArray, level: float) -> PairedDifference:
    """Compute the interval, standard error and p-value of a difference.

    Args:
        draws: The difference on each resample of the patients, shape (B,); NaN where it is undefined.
        level: Nominal coverage of the interval.
    """
    return paired_differences([draws], level)[0]


def paired_differences(rows: Sequence[FloatArray], level: float) -> list[PairedDifference]:
    """Compute the statistics of several differences, as `paired_difference`, intervals and errors at once.

    Args:
        rows: The draws of each difference, shape (B,).
        level: Nominal coverage of the intervals.
    """
    undefined = [int(np.isnan(draws).sum()) for draws in rows]
    spreads = zip(rows, percentile_intervals(rows, level), _standard_errors(rows, undefined), undefined, strict=True)
    return [
        PairedDifference(low, high, float("nan") if np.isnan(low) else error, missing, draws)
        for draws, (low, high), error, missing in spreads
    ]


def _standard_errors(rows: Sequence[FloatArray], undefined: Sequence[int]) -> list[float]:
    """Compute the standard deviation of each row, shape (B,); NaN with fewer than two defined draws."""
    found = [float("nan")] * len(rows)
    whole: dict[int, list[int]] = {}
    for i, (draws, missing) in enumerate(zip(rows, undefined, strict=True)):
        if len(draws) - missing > 1:
            if missing:
                found[i] = float(np.std(draws[~np.isnan(draws)], ddof=1))
            else:
                whole.setdefault(len(draws), []).append(i)
    for at in whole.values():
        for i, error in zip(at, np.std([rows[i] for i in at], axis=1, ddof=1).tolist(), strict=True):
            found[i] = error
    return found


def _name(draws: FloatArray) -> str:
    relative = np.round(draws / np.nanmax(np.abs(draws)), _SAME_DECIMALS) + 0.0  # no negative zeros
    return hashlib.sha256(np.nan_to_num(relative, nan=2.0).tobytes()).hexdigest()[:12]


def bootstrap_p_value(draws: FloatArray, undefined: int = 0) -> float:
    """Compute the two-sided p-value of a difference of 0 by inverting the percentile interval.

    2 (1 + min(number of draws <= 0, number of draws >= 0)) / (B + 1), at most 1: the level at which the percentile
    interval just reaches 0 (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 15.4). The added 1
    keeps it above 0 (Davison and Hinkley, Bootstrap Methods, 1997, section 4.2).

    If no draw is on the other side of 0, the count only says p <= 2 / (B + 1), which is too little for a family of many
    tests. The p-value is then that of a normal distribution with the draws' mean and standard deviation, if it is
    lower: 2 Phi(-|mean| / sd). There are two exceptions. If all draws are the same, the count is the p-value. With so
    few events (about five) that the metric is undefined on more than one resample in 200, the count is the p-value too,
    because the draws' standard deviation is far too small near the limit of the metric's range.

    Args:
        draws: Shape (B,), B at least 1, without NaN.
        undefined: Number of further resamples, with an undefined difference.
    """
    across = min(int((draws <= ZERO).sum()), int((draws >= -ZERO).sum()))
    counted = min(1.0, 2 * (1 + across) / (len(draws) + 1))
    spread = float(np.std(draws, ddof=1)) if len(draws) > 1 else 0.0
    if across or spread < ZERO or undefined > _MOST_UNDEFINED * (len(draws) + undefined):
        return counted
    return min(counted, math.erfc(abs(float(draws.mean())) / spread / math.sqrt(2)))
