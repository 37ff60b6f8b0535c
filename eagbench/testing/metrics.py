"""Conformance tests for metrics."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray, IntArray
from eagbench.contracts.rules import check_metric
from eagbench.contracts.traits import MetricTraits, traits_of
from eagbench.testing.cases import FEATURES
from eagbench.testing.component import ComponentConformance

N_CASES = 40


def scored_cases(n_cases: int = N_CASES, seed: int = 0) -> ScoredCases:
    """Make predictions with all that a metric may need: citations, expert, attention, and a few unparsed answers."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n_cases)
    parsed = rng.random(n_cases) < 0.9
    probability = np.where(parsed, np.round(np.clip(0.3 + 0.3 * label + 0.3 * rng.normal(size=n_cases), 0, 1), 1), 0.4)

    def names() -> frozenset[str]:
        return frozenset(FEATURES[i] for i in rng.integers(len(FEATURES), size=2))

    def weights() -> dict[str, float]:
        return dict(zip(FEATURES, map(float, rng.dirichlet(np.ones(len(FEATURES)))), strict=True))

    return ScoredCases(
        probability=probability,
        label=label,
        parsed=parsed,
        cited=tuple(names() if is_parsed else frozenset() for is_parsed in parsed),
        reference=tuple(names() for _ in range(n_cases)),
        baseline=(frozenset(FEATURES[:2]),) * n_cases,
        patient=tuple(f"patient-{n // 2}" for n in range(n_cases)),
        attention=tuple(weights() if is_parsed else None for is_parsed in parsed),
        salience=tuple(weights() for _ in range(n_cases)),
    )


def with_columns(scored: ScoredCases, names: Sequence[str], seed: int = 0) -> ScoredCases:
    """Add further columns of counts, as methods give them in `Prediction.extras`."""
    rng = np.random.default_rng(seed)
    return dataclasses.replace(
        scored, columns={name: rng.integers(1, 50, len(scored.label)).astype(np.float64) for name in names}
    )


def selected(scored: ScoredCases, positions: IntArray) -> ScoredCases:
    """Select the cases at the given positions, with repeats."""
    return scored.select(positions)


class MetricConformance(ComponentConformance):
    """One number per row of weights, where a weight is how often a case counts; NaN where the metric is undefined."""

    kind: ClassVar[str] = "metric"

    @pytest.fixture
    def scored(self, made: Any) -> ScoredCases:
        """Make forty cases of twenty patients, with both outcomes and every extra column that the metric needs."""
        return with_columns(scored_cases(), traits_of(made, MetricTraits).columns)

    def value(self, made: Any, scored: ScoredCases, weights: FloatArray | None = None) -> float:
        """Compute the metric for one row of weights (default: all 1), and fail on any warning."""
        row = np.ones(len(scored.label)) if weights is None else weights
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            values = made(scored, row[None])
        check_metric(values, 1)
        return float(values[0])

    def test_each_row_is_a_value_of_its_own(self, made: Any, scored: ScoredCases) -> None:
        """The plain value is the one with weights of 1, whatever the other rows are."""
        rng = np.random.default_rng(1)
        weights = np.vstack([np.ones(N_CASES), rng.poisson(1.0, size=(6, N_CASES))])
        values = np.asarray(made(scored, weights))
        check_metric(values, 7)
        assert np.isfinite(values[0])
        np.testing.assert_allclose(
            values, [self.value(made, scored, row) for row in weights], rtol=1e-9, atol=1e-12, equal_nan=True
        )

    def test_a_doubled_weight_is_a_duplicated_case(self, made: Any, scored: ScoredCases) -> None:
        """Weights of 0, 1, 2 and 3 leave cases out, keep them and repeat them."""
        counts = np.random.default_rng(2).integers(0, 4, N_CASES)
        repeated = selected(scored, np.repeat(np.arange(N_CASES), counts))
        assert self.value(made, repeated) == pytest.approx(self.value(made, scored, counts.astype(float)), abs=1e-9)

    def test_all_weights_doubled_change_nothing(self, made: Any, scored: ScoredCases) -> None:
        """Neither does repeating every case."""
        plain = self.value(made, scored)
        assert self.value(made, scored, np.full(N_CASES, 2.0)) == pytest.approx(plain, abs=1e-9)
        assert self.value(made, selected(scored, np.repeat(np.arange(N_CASES), 2))) == pytest.approx(plain, abs=1e-9)

    def test_the_order_of_cases_is_immaterial(self, made: Any, scored: ScoredCases) -> None:
        """Cases are sorted by id, which must not affect the value."""
        other = selected(scored, np.random.default_rng(3).permutation(N_CASES))
        assert self.value(made, other) == pytest.approx(self.value(made, scored), abs=1e-9)

    def test_nothing_is_undefined_and_nothing_else_fails(self, made: Any, scored: ScoredCases) -> None:
        """Without a case, or for a row without weight, the value is NaN.

        With only one outcome or one case it is a number or NaN, but no error.
        """
        empty = selected(scored, np.zeros(0, dtype=int))
        assert np.isnan(made(empty, np.ones((2, 0)))).all()
        assert np.isnan(self.value(made, scored, np.zeros(N_CASES)))
        for outcome in (0, 1):
            self.value(made, selected(scored, np.flatnonzero(scored.label == outcome)))
        self.value(made, selected(scored, np.array([0])))

    def test_what_was_not_measured_is_no_error(self, made: Any, scored: ScoredCases) -> None:
        """Columns may be missing: an expert cites nothing, and a benchmark may have no reference expert."""
        nothing = {name: np.full(N_CASES, np.nan) for name in scored.columns}
        bare = ScoredCases(scored.probability, scored.label, scored.parsed, columns=nothing)
        self.value(made, bare)

    def test_only_a_metric_that_says_so_reads_probabilities(self, made: Any, scored: ScoredCases) -> None:
        """Others are not recomputed for parsed answers, for the worst case or for corrected probabilities."""
        other = dataclasses.replace(scored, probability=np.round(1 - scored.probability**2, 2))
        is_same = self.value(made, other) == self.value(made, scored)
        assert is_same is not traits_of(made, MetricTraits).reads_probability

    def test_nothing_that_is_given_is_changed(self, made: Any, scored: ScoredCases) -> None:
        """All metrics and resamples share the same cases."""
        weights = np.random.default_rng(4).poisson(1.0, size=(3, N_CASES)).astype(float)
        before = weights.copy()
        made(scored, weights)
        np.testing.assert_array_equal(weights, before)
        untouched = with_columns(scored_cases(), list(scored.columns))
        for field in dataclasses.fields(scored):
            given, fresh = getattr(scored, field.name), getattr(untouched, field.name)
            for column in given if field.name == "columns" else (None,):
                np.testing.assert_array_equal(*((given, fresh) if column is None else (given[column], fresh[column])))
