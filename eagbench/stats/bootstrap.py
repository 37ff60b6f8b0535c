"""Confidence intervals by drawing patients with replacement.

Method: the percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), with the
patient as the unit that is drawn, because cases of one patient are not independent (chapter 8; Field and Welsh, JRSS B
2007, call it the randomised cluster bootstrap). A resample is a row of weights: how often each case occurs in it.

The draws depend on the number of patients, their sorted order and the seed, and on nothing else. Two methods, two
training seeds or two conditions that are evaluated on the same patients are therefore resampled jointly, whatever the
order of their cases, and differences between them can be taken row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.special import expit, logit, ndtri

from eagbench.contracts.records import FloatArray

CHUNK_ELEMENTS = 2**23  # of one block of weights: 64 MB of float64
MAX_UNDEFINED_SHARE = 0.5


def patient_weights(patient_ids: Sequence[str], resamples: int, seed: int) -> FloatArray:
    """How often each case occurs in each resample of the patients.

    Args:
        patient_ids: The patient of each case, N of them, with P different values.
        resamples: Number of resamples, B.
        seed: Seed of the draws.

    Returns:
        Shape (B, N), float64, whole numbers. Each resample draws P patients with replacement; all cases of a patient
        occur equally often.
    """
    return np.concatenate(list(weight_blocks(patient_ids, resamples, seed)))


def weight_blocks(patient_ids: Sequence[str], resamples: int, seed: int) -> Iterator[FloatArray]:
    """The rows of `patient_weights` in blocks of bounded size, the same numbers whatever the size of the blocks.

    Args:
        patient_ids: The patient of each case, N of them.
        resamples: Number of resamples, B, at least 1.
        seed: Seed of the draws.

    Yields:
        Shape (b, N), float64; b sums to B.
    """
    if resamples < 1:
        raise ValueError(f"{resamples} resamples")
    patients, patient_of_case = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
    if not len(patients):
        raise ValueError("no patients to resample")
    count = len(patients)
    rng = np.random.default_rng(seed)
    block = max(1, CHUNK_ELEMENTS // max(count, len(patient_of_case)))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(count, size=(rows, count))  # (b, P)
        drawn += count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)  # (b, P)
        yield times[:, patient_of_case].astype(np.float64)


def bootstrap(
    statistic: Callable[[FloatArray], FloatArray], patient_ids: Sequence[str], resamples: int, seed: int
) -> FloatArray:
    """A statistic, or several at once, on every resample, within bounded memory.

    Args:
        statistic: From weights (b, N) to values (..., b), each row on its own.
        patient_ids: The patient of each case, N of them.
        resamples: Number of resamples, B.
        seed: Seed of the draws.

    Returns:
        Shape (..., B).
    """
    return np.concatenate([statistic(block) for block in weight_blocks(patient_ids, resamples, seed)], axis=-1)


def percentile_interval(values: FloatArray, level: float) -> tuple[float, float]:
    """The percentile interval of bootstrap values.

    Resamples in which the statistic is undefined (NaN, for example an AUROC without a positive case) are left out; if
    they are more than half of all, the interval is undefined, because what remains no longer stands for the sample.

    Args:
        values: One value per resample, shape (B,).
        level: Nominal coverage, between 0 and 1, for example 0.95.

    Returns:
        The (1 - level)/2 and (1 + level)/2 quantiles (linear interpolation), or twice NaN if undefined.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level} is not between 0 and 1")
    defined = values[~np.isnan(values)]
    if not len(defined) or len(defined) < (1.0 - MAX_UNDEFINED_SHARE) * len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def logit_interval(value: float, draws: FloatArray, level: float, nearest: float) -> tuple[float, float]:
    """The interval of a number in (0, 1) that is normal on the scale of its log odds.

    expit(logit(value) +- z s), with s the standard deviation of the log odds of the draws. For an AUROC from few
    events, whose percentile interval is too short (docs/metrics.md).

    Args:
        value: The point value.
        draws: One value per resample, shape (B,); undefined ones are left out as in `percentile_interval`.
        level: Nominal coverage.
        nearest: What is nearer to 0 or 1 than this is taken for this near: for an AUROC half a pair of cases.

    Returns:
        The ends; twice NaN where the point value is 0 or 1 or undefined, or more than half of the draws are.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level} is not between 0 and 1")
    defined = draws[~np.isnan(draws)]
    if len(defined) < 2 or len(defined) < (1.0 - MAX_UNDEFINED_SHARE) * len(draws) or not 0.0 < value < 1.0:
        return float("nan"), float("nan")
    spread = float(np.std(logit(np.clip(defined, nearest, 1.0 - nearest)), ddof=1))
    reach = float(ndtri((1.0 + level) / 2.0)) * spread
    low, high = expit(logit(value) + np.array([-reach, reach]))
    return float(low), float(high)
