"""Whether answers rest on what they cite, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.rereading import AGAIN, AS_IS
from eagbench.metrics.citation_rereading import (
    REREAD_METRICS,
    CitationComprehensiveness,
    CitationComprehensivenessOverControl,
    CitationSufficiency,
    CitationSufficiencyOverBaseline,
    RereadNoise,
)

NAN = float("nan")


def scored(**columns: list[float]) -> ScoredCases:
    given = {AS_IS: [0.5, 0.2, 0.8], **columns}
    return ScoredCases(
        np.full(3, 0.5),
        np.zeros(3, dtype=int),
        np.ones(3, dtype=bool),
        columns={k: np.array(v) for k, v in given.items()},
    )


def point(metric: type, cases: ScoredCases, weights: tuple[float, ...] = (1, 1, 1)) -> float:
    return float(metric(metric.Params())(cases, np.array([weights], dtype=float))[0])


def test_an_answer_that_moves_either_way_rests_on_what_was_changed() -> None:
    cases = scored(reread_swapped_cited=[0.9, 0.1, 0.8], reread_swapped_control=[0.5, 0.2, 0.7])
    assert point(CitationComprehensiveness, cases) == pytest.approx((0.4 + 0.1 + 0) / 3)
    assert point(CitationComprehensiveness, cases, (0, 2, 0)) == pytest.approx(0.1)
    assert point(CitationComprehensivenessOverControl, cases) == pytest.approx((0.4 + 0.1 - 0.1) / 3)


def test_sufficiency_is_better_the_less_an_answer_moves() -> None:
    cases = scored(reread_swapped_all_but_cited=[0.6, 0.2, 0.8], reread_swapped_all_but_baseline=[0.9, 0.5, 0.8])
    assert point(CitationSufficiency, cases) == pytest.approx(0.1 / 3)
    assert point(CitationSufficiencyOverBaseline, cases) == pytest.approx((0.3 + 0.3) / 3)
    assert (CitationSufficiency.traits.better, CitationSufficiencyOverBaseline.traits.better) == ("lower", "higher")


def test_the_same_change_as_the_control_is_no_excess() -> None:
    same = [0.3, 0.9, 0.1]
    cases = scored(reread_swapped_cited=same, reread_swapped_control=same)
    assert point(CitationComprehensivenessOverControl, cases) == 0


def test_a_case_without_an_answer_has_no_part() -> None:
    cases = scored(reread_again=[NAN, 0.2, 0.9])
    assert point(RereadNoise, cases) == pytest.approx(0.05)
    assert np.isnan(point(RereadNoise, cases, (1, 0, 0)))
    assert np.isnan(point(RereadNoise, scored(reread_again=[NAN] * 3)))


def test_every_metric_names_the_readings_that_it_needs() -> None:
    for metric in REREAD_METRICS:
        assert metric.traits.columns[0] == AS_IS
        assert len(set(metric.traits.columns)) == len(metric.traits.columns) > 1
        assert metric.traits.needs_reference_expert
    assert RereadNoise.traits.columns == (AS_IS, AGAIN)
