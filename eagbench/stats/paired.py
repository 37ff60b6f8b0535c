"""The difference between two methods on the same patients, from resamples that both share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eagbench.stats.bootstrap import percentile_interval
from eagbench.types import FloatArray

# z(0.975) + z(0.80): a true difference of so many standard errors is found with 80 % power by a two-sided test at 5 %.
DETECTABLE_STANDARD_ERRORS = 2.8

# A difference below this is rounding: the same sums in another order.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """What resamples say about a difference; all but `undefined` is NaN if more than half of them are undefined.

    Attributes:
        ci_low: Lower end of the percentile interval.
        ci_high: Upper end.
        standard_error: Standard deviation of the resampled differences.
        smallest_detectable: 2.8 standard errors: the true difference that a test at 5 % finds with 80 % power.
        p_value: Two-sided, see `bootstrap_p_value`.
        undefined: Resamples in which the difference is undefined; they are left out.
    """

    ci_low: float
    ci_high: float
    standard_error: float
    smallest_detectable: float
    p_value: float
    undefined: int


def paired_difference(draws: FloatArray, level: float) -> PairedDifference:
    """Interval, standard error and p-value of a difference.

    Args:
        draws: The difference on each resample of the patients, shape (B,); NaN where it is undefined.
        level: Nominal coverage of the interval.
    """
    undefined = int(np.isnan(draws).sum())
    low, high = percentile_interval(draws, level)
    if np.isnan(low):
        nan = float("nan")
        return PairedDifference(nan, nan, nan, nan, nan, undefined)
    defined = draws[~np.isnan(draws)]
    error = float(np.std(defined, ddof=1))
    return PairedDifference(low, high, error, DETECTABLE_STANDARD_ERRORS * error, bootstrap_p_value(defined), undefined)


def bootstrap_p_value(draws: FloatArray) -> float:
    """Two-sided p-value of a difference of 0 by inverting the percentile interval.

    2 (1 + min(number of draws <= 0, number of draws >= 0)) / (B + 1), at most 1: the level at which the percentile
    interval just reaches 0 (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 15.4), with the 1
    that keeps it above 0 (Davison and Hinkley, Bootstrap Methods, 1997, section 4.2). It is never below 2 / (B + 1).

    Args:
        draws: Shape (B,), B at least 1, without NaN.
    """
    below = int((draws <= _ROUNDING).sum())
    above = int((draws >= -_ROUNDING).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (len(draws) + 1))
