"""Alignment beyond chance: by hand, by plain loops over pairs, and what must be zero."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from eagbench.api import Case, Feature
from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import Cases
from eagbench.contracts.stages import StageRun
from eagbench.metrics.attention import (
    AlignmentOverConstant,
    AlignmentOverOtherPatient,
    CitationJaccard,
    CitedFeatures,
    jaccard,
)
from eagbench.metrics.attention_mass import AttentionMass, AttentionMassOverOtherPatient, likeness
from eagbench.stages.salience import frequency_baseline, read_frequency_baseline, reference
from tests.builders import TASK

NAMES = ("a", "b", "c", "d", "e")


def scored_cases(n: int, **fields) -> ScoredCases:
    return ScoredCases(np.full(n, 0.5), np.zeros(n, dtype=int), np.ones(n, dtype=bool), **fields)


def lists(*texts: str) -> tuple[frozenset[str], ...]:
    return tuple(map(frozenset, texts))


def point(metric: type, scored: ScoredCases) -> float:
    return float(metric(metric.Params())(scored, np.ones((1, len(scored.label))))[0])


def test_citations_by_hand() -> None:
    scored = scored_cases(
        3,
        cited=lists("ab", "a", ""),
        reference=lists("bc", "ab", "ab"),
        baseline=lists("ab", "ab", "ab"),
        patient=("p", "p", "q"),
    )
    assert point(CitedFeatures, scored) == 1
    assert point(CitationJaccard, scored) == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)
    assert point(AlignmentOverConstant, scored) == pytest.approx((1 / 3 + 1 / 2 + 0 - 1 / 3 - 1 - 1) / 3)
    # Patient p is compared with the empty list of q only, and q with both lists of p: (1 + 1/2) / 2.
    assert point(AlignmentOverOtherPatient, scored) == pytest.approx((1 / 3 + 1 / 2 - 3 / 4) / 3)
    weights = np.array([[0.0, 0, 2]])
    assert AlignmentOverOtherPatient(AlignmentOverOtherPatient.Params())(scored, weights)[0] == pytest.approx(-0.75)


CITATIONS = st.lists(st.frozensets(st.sampled_from(NAMES)), min_size=2, max_size=8)


@st.composite
def samples(draw) -> ScoredCases:
    cited = draw(CITATIONS)
    n = len(cited)
    each = st.lists(st.frozensets(st.sampled_from(NAMES), max_size=3), min_size=n, max_size=n)
    patients = draw(st.lists(st.sampled_from("pqr"), min_size=n, max_size=n))
    weight = st.one_of(st.just(0.0), st.floats(0.01, 1))
    seen = [draw(st.frozensets(st.sampled_from(NAMES), min_size=1)) for _ in range(n)]
    attention = [draw(st.one_of(st.none(), st.fixed_dictionaries(dict.fromkeys(NAMES, weight)))) for _ in range(n)]
    salience = [{f: draw(weight) for f in sorted(names)} for names in seen]
    return scored_cases(
        n,
        cited=tuple(cited),
        reference=tuple(draw(each)),
        patient=tuple(patients),
        attention=tuple(attention),
        salience=tuple(salience),
    )


@settings(deadline=None)
@given(samples())
def test_the_excess_over_other_patients_equals_loops_over_pairs(scored: ScoredCases) -> None:
    assert scored.cited is not None
    assert scored.reference is not None
    assert scored.patient is not None
    excess, mass_excess, mass = [], [], []
    for i in range(len(scored.label)):
        others = [j for j in range(len(scored.label)) if scored.patient[j] != scored.patient[i]]
        own = jaccard(scored.cited[i], scored.reference[i])
        excess.append(own - np.mean([jaccard(scored.cited[j], scored.reference[i]) for j in others] or [math.nan]))
        mass.append(_alignment(scored, i, i, i))
        looked = [attention is not None for attention in scored.attention or ()]
        pairs = [_alignment(scored, i, i, j) - _alignment(scored, j, i, j) for j in others if looked[i] and looked[j]]
        mass_excess.append(np.mean(pairs or [0.0 if others else math.nan]))
    for metric, expected in (
        (AlignmentOverOtherPatient, excess),
        (AttentionMass, mass),
        (AttentionMassOverOtherPatient, mass_excess),
    ):
        measured = any(attention is not None for attention in scored.attention or ())
        if metric is AlignmentOverOtherPatient or measured:
            assert point(metric, scored) == pytest.approx(np.mean(expected), abs=1e-6, nan_ok=True)


def _alignment(scored: ScoredCases, looks: int, case: int, other: int) -> float:
    """Of the attention on one record with the salience of a case, over the features seen in it and in another."""
    assert scored.attention is not None
    assert scored.salience is not None
    names = sorted(scored.salience[case].keys() & scored.salience[other].keys())
    looked = [(scored.attention[looks] or {}).get(name, 0.0) for name in names]
    taught = [scored.salience[case][name] for name in names]
    return 1 - jensenshannon(looked, taught, base=2) if sum(looked) > 0 and sum(taught) > 0 else 0.0


@given(CITATIONS, st.frozensets(st.sampled_from(NAMES)))
def test_a_list_that_is_the_same_for_everybody_has_no_excess(tops: list, cited: frozenset[str]) -> None:
    everybody = (cited,) * len(tops)
    scored = scored_cases(len(tops), cited=everybody, reference=tuple(tops), baseline=everybody)
    assert point(AlignmentOverOtherPatient, scored) == 0
    assert point(AlignmentOverConstant, scored) == 0


def test_attention_that_does_not_look_at_the_record_has_no_excess() -> None:
    rng = np.random.default_rng(0)
    saliences, uniform, fixed = [], [], []
    for _ in range(30):
        seen = [name for name in NAMES if rng.random() < 0.7] or ["a"]
        saliences.append({name: float(rng.random()) for name in seen})
        uniform.append({name: 1 / len(seen) for name in seen})
        fixed.append({name: i / 10 for i, name in enumerate(NAMES)})
    for attention in (uniform, fixed):
        scored = scored_cases(30, attention=tuple(attention), salience=tuple(saliences))
        assert point(AttentionMassOverOtherPatient, scored) == 0
    perfect = scored_cases(30, attention=tuple(saliences), salience=tuple(saliences))
    assert point(AttentionMass, perfect) == pytest.approx(1, abs=1e-7)
    assert point(AttentionMassOverOtherPatient, perfect) > 0.1


@given(
    st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1)), min_size=4, max_size=4),
    st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1)), min_size=4, max_size=4),
)
def test_likeness_is_one_minus_scipys_distance(first: list[float], second: list[float]) -> None:
    got = float(likeness(np.array(first), np.array(second)))
    if sum(first) and sum(second):
        assert got == pytest.approx(1 - jensenshannon(first, second, base=2), abs=1e-6)
    else:
        assert got == 0


@pytest.mark.parametrize(
    "metric", [CitedFeatures, AlignmentOverConstant, AlignmentOverOtherPatient, AttentionMass,
               AttentionMassOverOtherPatient]
)  # fmt: skip
def test_what_was_not_there_gives_no_number(metric: type) -> None:
    nothing = metric(metric.Params())(scored_cases(3), np.ones((2, 3)))
    assert nothing.shape == (2,)
    assert np.isnan(nothing).all()
    alone = scored_cases(
        1, cited=lists("a"), reference=lists("a"), patient=("p",), attention=({"a": 1.0},), salience=({"a": 1.0},)
    )
    if "other" in metric.name:
        assert np.isnan(point(metric, alone))


class FixedExpert:
    """Weighs features by their values: what the real experts do is tested with them."""

    name: ClassVar[str] = "fixed"

    @classmethod
    def load(cls, params: object, folder: object) -> FixedExpert:
        return cls()

    def salience(self, cases: Cases) -> np.ndarray:
        values = np.stack([np.nan_to_num(case.values_in_order(cases.feature_names)[-1]) for case in cases])
        return values / values.sum(axis=1, keepdims=True)


def cases_of(rows: Sequence[Sequence[float]]) -> Cases:
    items = tuple(
        Case(f"c{i}", f"c{i}", NAMES, np.array([1.0]), np.array([row], np.float32), {}) for i, row in enumerate(rows)
    )
    return Cases(tuple(Feature(name, name, "1", (-9, 9)) for name in NAMES), (), TASK, items)


def test_the_stages_of_the_reference_expert(tmp_path) -> None:
    nan = float("nan")
    # Tops of two: (e, d), (e, d), (e, a), (b, a): e thrice, then a and d twice each, a first in order.
    train = cases_of([[1, 0, 0, 2, 3], [0, 1, 0, 2, 3], [2, 0, 1, nan, 3], [2, 3, 1, 0, nan]])
    run = StageRun({"k": 2}, {"cases": train, "expert": tmp_path}, 0, tmp_path, component=FixedExpert())
    frequency_baseline(run)
    assert read_frequency_baseline(tmp_path) == ["e", "a"]
    assert json.loads((tmp_path / "frequency_baseline.json").read_text())["times_on_top"] == {
        "a": 2,
        "b": 1,
        "d": 2,
        "e": 3,
    }
    reference(run)
    rows = pq.read_table(tmp_path / "reference.parquet").to_pylist()
    assert rows[2]["features"] == ["e", "a"]
    assert rows[2]["salience"] == [("a", pytest.approx(1 / 3)), ("b", 0), ("c", pytest.approx(1 / 6)),
                                           ("e", 0.5)]  # fmt: skip
