"""The difference between two methods on the same patients, from resamples that both share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Statistics of a difference from its resamples.

    All numbers but `undefined` are NaN if more than half of the resamples are undefined.

    Attributes:
        ci_low: Lower end of the percentile interval.
        ci_high: Upper end.
        standard_error: Standard deviation of the resampled differences.
        smallest_detectable: 2.8 standard errors: the true difference that a test at 5 % finds with 80 % power.
        p_value: Two-sided, see `bootstrap_p_value`. NaN if the difference is 0 on every resample: the two are then the
            same by construction, and there is nothing to test.
        undefined: Number of resamples with an undefined difference; they are left out.
        test: Identifies the resampled differences up to a positive factor; empty without a p-value.
    """

    ci_low: float
    ci_high: float
    standard_error: float
    smallest_detectable: float
    p_value: float
    undefined: int
    test: str


def paired_difference(draws: FloatArray, level: float) -> PairedDifference:
    """Compute the interval, standard error and p-value of a difference.

    Args:
        draws: The difference on each resample of the patients, shape (B,); NaN where it is undefined.
        level: Nominal coverage of the interval.
    """
    return paired_differences([draws], level)[0]


def paired_differences(rows: Sequence[FloatArray], level: float) -> list[PairedDifference]:
    """Compute the statistics of several differences, as `paired_difference`, their intervals at once.

    Args:
        rows: The draws of each difference, shape (B,).
        level: Nominal coverage of the intervals.
    """
    intervals = percentile_intervals(rows, level)
    return [_paired(draws, *interval) for draws, interval in zip(rows, intervals, strict=True)]


def _paired(draws: FloatArray, low: float, high: float) -> PairedDifference:
    undefined = int(np.isnan(draws).sum())
    if np.isnan(low):
        nan = float("nan")
        return PairedDifference(nan, nan, nan, nan, nan, undefined, "")
    defined = draws[~np.isnan(draws)]
    error = float(np.std(defined, ddof=1))
    is_test = bool(np.abs(defined).max() > ZERO)
    p_value = bootstrap_p_value(defined, undefined) if is_test else float("nan")
    test = _name(draws) if is_test else ""
    return PairedDifference(low, high, error, DETECTABLE_STANDARD_ERRORS * error, p_value, undefined, test)


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
