"""Confidence intervals by drawing patients with replacement.

Method: the percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). Patients
are drawn, not cases, because cases of one patient are not independent (chapter 8; Field and Welsh, JRSS B 2007, call it
the randomised cluster bootstrap). A resample is a row of weights: how often each case occurs in it.

The draws depend only on the number of patients, their sorted order and the seed. Two methods, training seeds or
conditions that are evaluated on the same patients are therefore resampled jointly, whatever the order of their cases.
Differences between them can be taken row by row.

For the same reason they are drawn once in a process, and kept for the next cell with as many patients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from itertools import compress

import numpy as np
from scipy.special import expit, logit, ndtri

from eagbench.contracts.records import FloatArray, IntArray

CHUNK_ELEMENTS = 2**23  # of one block of weights: 64 MB of float64
_KEPT_COUNTS = 2**27  # of draws that are kept as counts, a byte each
MAX_UNDEFINED_SHARE = 0.5
# With fewer patients of either outcome, the same few stand in every resample and only the others vary. Of two methods
# without any skill, one was then "better" at 5 % in 85 % of test sets of 200 patients with one event, in 39 % with two,
# 20 % with three, 13 % with four, and 10 % with five (scripts/false_claims.py).
LEAST_PATIENTS = 5


def patient_weights(patient_ids: Sequence[str], resamples: int, seed: int) -> FloatArray:
    """Count how often each case occurs in each resample of the patients.

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
    """Yield the rows of `patient_weights` in blocks of bounded size.

    The numbers are the same whatever the size of the blocks.

    Args:
        patient_ids: The patient of each case, N of them.
        resamples: Number of resamples, B, at least 1.
        seed: Seed of the draws.

    Yields:
        Shape (b, N), float64, read-only; b sums to B.
    """
    if resamples < 1:
        raise ValueError(f"{resamples} resamples")
    if not len(patient_ids):
        raise ValueError("no patients to resample")
    if resamples * len(patient_ids) <= CHUNK_ELEMENTS:  # one block: as it was made for the cell before
        yield _kept_block(tuple(patient_ids), resamples, seed)
    else:
        yield from _blocks(patient_ids, resamples, seed)


@functools.lru_cache(maxsize=2)  # the patients of two domains in turn
def _kept_block(patient_ids: tuple[str, ...], resamples: int, seed: int) -> FloatArray:
    (block,) = _blocks(patient_ids, resamples, seed)
    return block


def _blocks(patient_ids: Sequence[str], resamples: int, seed: int) -> Iterator[FloatArray]:
    patients, patient_of_case = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
    count, rows = len(patients), max(1, CHUNK_ELEMENTS // len(patient_of_case))
    drawn = _kept_counts if resamples * count <= _KEPT_COUNTS else _counts
    for times in drawn(count, resamples, seed, rows):
        weights = times[:, patient_of_case].astype(np.float64)
        weights.setflags(write=False)
        yield weights


@functools.lru_cache(maxsize=1)
def _kept_counts(count: int, resamples: int, seed: int, rows: int) -> tuple[IntArray, ...]:
    """Draw all resamples, and keep them in as few bytes as hold the largest count."""
    found = _counts(count, resamples, seed, rows)
    return tuple(times.astype(np.min_scalar_type(int(times.max()))) for times in found)


def _counts(count: int, resamples: int, seed: int, rows: int) -> Iterator[IntArray]:
    """Draw patients with replacement, and count how often each is drawn: blocks of shape (b, P), b at most `rows`."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, rows):
        b = min(rows, resamples - start)
        drawn = rng.integers(count, size=(b, count))  # (b, P)
        drawn += count * np.arange(b)[:, None]
        yield np.bincount(drawn.ravel(), minlength=b * count).reshape(b, count)


def can_resample(label: IntArray, patient_ids: Sequence[str]) -> bool:
    """Say whether resamples tell how a number that depends on the outcome would vary with other patients.

    Args:
        label: 1 with the event, shape (N,).
        patient_ids: The patient of each case, N of them.

    Returns:
        Whether at least `LEAST_PATIENTS` patients have a case with the event, and as many one without.
    """
    of_outcomes = (set(compress(patient_ids, (label == outcome).tolist())) for outcome in (0, 1))
    return all(len(patients) >= LEAST_PATIENTS for patients in of_outcomes)


def bootstrap(
    statistic: Callable[[FloatArray], FloatArray], patient_ids: Sequence[str], resamples: int, seed: int
) -> FloatArray:
    """Compute a statistic, or several at once, on every resample, with bounded memory.

    Args:
        statistic: From weights (b, N) to values (..., b), each row independently.
        patient_ids: The patient of each case, N of them.
        resamples: Number of resamples, B.
        seed: Seed of the draws.

    Returns:
        Shape (..., B).
    """
    return np.concatenate([statistic(block) for block in weight_blocks(patient_ids, resamples, seed)], axis=-1)


def percentile_interval(values: FloatArray, level: float) -> tuple[float, float]:
    """Compute the percentile interval of bootstrap values.

    Resamples with an undefined statistic (NaN, for example an AUROC without a positive case) are left out. If they are
    more than half of all, the interval is undefined, because the rest no longer represents the sample.

    Args:
        values: One value per resample, shape (B,).
        level: Nominal coverage, between 0 and 1, for example 0.95.

    Returns:
        The (1 - level)/2 and (1 + level)/2 quantiles (linear interpolation), or NaN twice if undefined.
    """
    return percentile_intervals([values], level)[0]


def percentile_intervals(rows: Sequence[FloatArray], level: float) -> list[tuple[float, float]]:
    """Compute the percentile interval of each of several statistics, as `percentile_interval`.

    Those that are defined on every resample are computed at once, which takes an eighth of the time.

    Args:
        rows: One statistic each, shape (B,).
        level: Nominal coverage, between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level} is not between 0 and 1")
    found = [(float("nan"), float("nan"))] * len(rows)
    whole: dict[int, list[int]] = {}
    for i, values in enumerate(rows):
        defined = values[~np.isnan(values)]
        if not len(defined) or len(defined) < (1.0 - MAX_UNDEFINED_SHARE) * len(values):
            continue
        if len(defined) == len(values):
            whole.setdefault(len(values), []).append(i)
        else:
            found[i] = _quantiles(defined[None], level)[0]
    for at in whole.values():
        for i, interval in zip(at, _quantiles(np.stack([rows[i] for i in at]), level), strict=True):
            found[i] = interval
    return found


def _quantiles(values: FloatArray, level: float) -> list[tuple[float, float]]:
    """Compute both ends of the interval of each row of values, shape (K, B)."""
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=1)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def logit_interval(value: float, draws: FloatArray, level: float, nearest: float) -> tuple[float, float]:
    """Compute the interval of a number in (0, 1) that is normal on the log-odds scale.

    It is expit(logit(value) +- z s), where s is the standard deviation of the log odds of the draws. Use it for an
    AUROC from few events, whose percentile interval is too short (docs/metrics.md).

    Args:
        value: The point value.
        draws: One value per resample, shape (B,); undefined ones are left out as in `percentile_interval`.
        level: Nominal coverage.
        nearest: Draws nearer to 0 or 1 than this are clipped to this distance: for an AUROC, half a pair of cases.

    Returns:
        The ends; NaN twice if the point value is 0, 1 or undefined, or if more than half of the draws are undefined.
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
