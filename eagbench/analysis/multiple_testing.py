"""Families of tests: which rows of a table are tests, which rows are the same test, and their corrected p-values.

A table may hold the same test many times: under a condition that leaves two methods' answers unchanged, after a
recalibration that keeps their order, or as the area below a curve of one severity. Such rows have the same resampled
differences up to a positive factor, and the same `test`. They count once in a family. So a large effect is not
multiplied, and does not make unrelated tests look better. Each such row gets the corrected p-value of its test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eagbench.stats.multiplicity import benjamini_hochberg, holm

HOLM, BENJAMINI_HOCHBERG = "holm", "benjamini_hochberg"
_CORRECTIONS = {HOLM: holm, BENJAMINI_HOCHBERG: benjamini_hochberg}

TestKey = tuple[str, str, str]


def test_key(row: Mapping[str, Any]) -> TestKey:
    """Return what rows of one test have in common: the two methods, and their resampled differences."""
    return row["method"], row.get("baseline", ""), row["test"]


def correct_family(
    rows: Sequence[dict[str, Any]],
    correction: str,
    elsewhere: Mapping[TestKey, Mapping[str, Any]] | None = None,
    n_lost: int = 0,
) -> None:
    """Add `p_corrected` and `correction` to the rows of one family.

    Args:
        rows: With `method`, `test`, `p_value`, and `baseline` where there is one. A row with NaN as its p-value is
            not a test.
        correction: `holm` or `benjamini_hochberg`.
        elsewhere: Corrected rows of another family by their test. A row of such a test counts there and not here.
        n_lost: Number of further tests of the family, without rows, that count with p = 1.
    """
    distinct: dict[TestKey, list[dict[str, Any]]] = {}
    for row in rows:
        row["p_corrected"], row["correction"] = float("nan"), ""
        if np.isnan(row["p_value"]):
            continue
        counted = (elsewhere or {}).get(test_key(row))
        if counted is not None:
            row["p_corrected"], row["correction"] = counted["p_corrected"], counted["correction"]
        else:
            distinct.setdefault(test_key(row), []).append(row)
    p_values = np.array([*(same[0]["p_value"] for same in distinct.values()), *[1.0] * n_lost], dtype=np.float64)
    corrected = _CORRECTIONS[correction](p_values).tolist()[: len(distinct)]
    for same, value in zip(distinct.values(), corrected, strict=True):
        for row in same:
            row["p_corrected"], row["correction"] = value, correction
