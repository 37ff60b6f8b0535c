"""Agreement with the expert beyond lists that were not made for the patient."""

from __future__ import annotations

import numpy as np
import pytest

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.citation_controls import CONTROL_COLUMNS
from eagbench.metrics.alignment_controls import (
    CONTROL_METRICS,
    AlignmentOverBestControl,
    AlignmentOverRefilledConstant,
    AlignmentOverSimilarRisk,
)


def scored(*columns: list[float]) -> ScoredCases:
    return ScoredCases(
        np.full(2, 0.5),
        np.zeros(2, dtype=int),
        np.ones(2, dtype=bool),
        cited=(frozenset("ab"), frozenset("a")),
        reference=(frozenset("ab"), frozenset("ab")),
        columns={name: np.array(column) for name, column in zip(CONTROL_COLUMNS, columns, strict=True)},
    )


def points(metric: type, cases: ScoredCases, *weights: tuple[float, float]) -> list[float]:
    return metric(metric.Params())(cases, np.array(weights or [(1, 1)], dtype=float)).tolist()


def test_the_best_control_is_the_one_that_leaves_least_and_may_differ_between_resamples() -> None:
    cases = scored([0.5, 0.0], [0.0, 0.4], [0.1, 0.1])
    assert points(AlignmentOverRefilledConstant, cases) == pytest.approx([0.5])
    assert points(AlignmentOverSimilarRisk, cases) == pytest.approx([0.65])
    assert points(AlignmentOverBestControl, cases, (1, 1), (0, 1)) == pytest.approx([0.5, 0.1])


@pytest.mark.parametrize("metric", CONTROL_METRICS)
def test_without_citations_or_expert_there_is_no_number(metric: type) -> None:
    nothing = {name: np.full(2, np.nan) for name in CONTROL_COLUMNS}
    bare = ScoredCases(np.full(2, 0.5), np.zeros(2, dtype=int), np.ones(2, dtype=bool), columns=nothing)
    assert np.isnan(points(metric, bare)).all()
