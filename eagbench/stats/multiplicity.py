"""Corrections of p-values for the number of tests in a family."""

from __future__ import annotations

import numpy as np

from eagbench.contracts.records import FloatArray


def holm(p_values: FloatArray) -> FloatArray:
    """Correct p-values with Holm's step-down method.

    It controls the probability of any false rejection, whatever the dependence.

    Source: Holm, Scandinavian Journal of Statistics 1979.

    Args:
        p_values: One family, shape (M,), without NaN.

    Returns:
        Corrected p-values in the same order, shape (M,), at most 1.
    """
    order = np.argsort(p_values, kind="stable")
    left = np.arange(len(p_values), 0, -1)  # tests not yet rejected when it is this one's turn
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * left), 1.0)
    return corrected


def benjamini_hochberg(p_values: FloatArray) -> FloatArray:
    """Correct p-values with the step-up method of Benjamini and Hochberg.

    It controls the expected share of false rejections among all rejections.

    Source: Benjamini and Hochberg, JRSS B 1995; valid under independence and positive regression dependence
    (Benjamini and Yekutieli, Annals of Statistics 2001).

    Args:
        p_values: One family, shape (M,), without NaN.

    Returns:
        Corrected p-values in the same order, shape (M,), at most 1.
    """
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return corrected
