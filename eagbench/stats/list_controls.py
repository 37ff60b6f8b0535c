"""Overlap with an expert's lists of lists that were not made for the patient: what fits everybody reaches it, too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import BoolArray, FloatArray, IntArray

# Other patients whose risk is nearest; all that are as near as the last of them count.
_SIMILAR = 10


@dataclass(frozen=True, slots=True)
class CitedCases:
    """What is listed for each of N cases, and what was there to be listed.

    Attributes:
        lists: What a method cites, or an expert's own list.
        references: The expert's list, which is compared with.
        measured: The features that were measured.
        risk: The predicted probability of each case, shape (N,).
        patient: The patient of each case.
    """

    lists: Sequence[Collection[str]]
    references: Sequence[Collection[str]]
    measured: Sequence[Collection[str]]
    risk: FloatArray
    patient: Sequence[str]


def control_overlaps(cases: CitedCases, ranking: Sequence[str], k: int) -> FloatArray:
    """Compute the Jaccard overlap of each case's reference list with three lists that were not made for the case.

    A list is cut to the features that were measured in the case, and refilled to its length with those of the ranking
    that were.

    Args:
        cases: The cases.
        ranking: Features in the order of their importance whoever the patient; others follow by name.
        k: Length of the frequency baseline, the ranking's first `k`.

    Returns:
        Shape (N, 3): of the frequency baseline; the mean over the lists of all cases of other patients; the mean over
        those whose risk is nearest, at least ten if there are as many. NaN where there is no other patient.
    """
    known = set(ranking).union(*map(set, (*cases.lists, *cases.references, *cases.measured)))
    names = [*ranking, *sorted(known - set(ranking))]
    lists, references, measured = (_matrix(part, names) for part in (cases.lists, cases.references, cases.measured))
    different, which = np.unique(lists, axis=0, return_inverse=True)  # (U, F), (N,)
    which = which.reshape(-1)
    patient = np.unique(np.asarray(cases.patient, dtype=str), return_inverse=True)[1]
    first = np.zeros((1, len(names)), np.bool_)
    first[0, :k] = True
    found = np.full((len(lists), 3), np.nan)
    for i in range(len(lists)):
        others = patient != patient[i]
        overlap = _overlap(_refilled(np.vstack([first, different]), measured[i]), references[i])  # (1 + U,)
        found[i, 0] = overlap[0]
        if others.any():
            found[i, 1] = _mean(overlap[1:], which[others])
            found[i, 2] = _mean(overlap[1:], which[_nearest(cases.risk, i, others)])
    return found


def _matrix(lists: Sequence[Collection[str]], names: Sequence[str]) -> BoolArray:
    """Return which names each list holds, shape (N, F)."""
    place = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((len(lists), len(names)), np.bool_)
    for row, listed in zip(matrix, lists, strict=True):
        row[[place[name] for name in listed]] = True
    return matrix


def _refilled(lists: BoolArray, measured: BoolArray) -> BoolArray:
    """Cut lists (L, F) to what was measured (F,), and refill each to its length with the first features left."""
    kept = lists & measured
    free = measured & ~kept
    lacking = lists.sum(axis=1) - kept.sum(axis=1)
    filled: BoolArray = kept | (free & (free.cumsum(axis=1) <= lacking[:, None]))
    return filled


def _overlap(lists: BoolArray, reference: BoolArray) -> FloatArray:
    """Compute the Jaccard overlap of each list (L, F) with a reference (F,), shape (L,); 0 if both are empty."""
    overlap: FloatArray = (lists & reference).sum(axis=1) / np.maximum((lists | reference).sum(axis=1), 1)
    return overlap


def _mean(overlap: FloatArray, which: IntArray) -> float:
    return float(overlap @ np.bincount(which, minlength=len(overlap)) / len(which))


def _nearest(risk: FloatArray, i: int, others: BoolArray) -> BoolArray:
    """Mark the other patients' cases whose risk is nearest to that of case i, shape (N,)."""
    distance = np.where(others, np.abs(risk - risk[i]), np.inf)
    last = min(_SIMILAR, int(others.sum())) - 1
    near: BoolArray = others & (distance <= np.partition(distance, last)[last] + 1e-12)
    return near
