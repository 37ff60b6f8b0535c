"""Perturbed records as stages get them: who shares draws with whom."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from eagbench.api import Case, Cases
from eagbench.contracts.records import Feature
from eagbench.execution.resolve import _perturbed
from eagbench.registry.plugins import load_registry
from tests.builders import make_case, make_cohort_cases

UNITS = {"glucose": "mg/dL", "creatinine": "mg/dL", "urea_nitrogen": "mg/dL", "temperature": "Cel", "weight": "kg"}


def cohort(n: int) -> Cases:
    rng = np.random.default_rng(0)
    items = [
        make_case({name: rng.uniform(20, 60, 12).round(1) for name in UNITS}, case_id=f"case-{i}") for i in range(n)
    ]
    cases = make_cohort_cases(items, tuple(UNITS))
    features = tuple(Feature(name, name, unit, plausible=(0.0, 1000.0)) for name, unit in UNITS.items())
    return Cases(features, cases.static_names, cases.task, cases.items)


def changed(cases: Cases, name: str, severity: float, seed: int = 7, **params: Any) -> Cases:
    return _perturbed(cases, cases, name, json.dumps(params), severity, seed)


def moved(case: Case, before: Case) -> list[str]:
    """The features whose numbers are other ones."""
    return [
        name for j, name in enumerate(before.features) if not np.array_equal(case.values[:, j], before.values[:, j])
    ]


def test_what_draws_like_another_perturbation_changes_the_same_features() -> None:
    cases = cohort(20)
    for severity in (0.4, 0.6):
        labelled, unlabelled = (
            changed(cases, "unit_change", severity),
            changed(cases, "unit_change_unlabelled", severity),
        )
        assert [sorted(case.renderings) for case in labelled] == [
            sorted(moved(case, before)) for case, before in zip(unlabelled, cases, strict=True)
        ]
        named, positional = (changed(cases, f"feature_order{end}", severity) for end in ("", "_positional"))
        for case, other in zip(named, positional, strict=True):
            np.testing.assert_array_equal(case.values, other.values)
    assert len({tuple(sorted(case.renderings)) for case in labelled}) > 1


def test_parameters_do_not_enter_the_draws() -> None:
    cases = cohort(20)
    both = changed(cases, "sex_age_removed", 0.4)
    one = changed(cases, "sex_age_removed", 0.4, facts=["sex"])
    without_sex = [[np.isnan(case.static["sex"]) for case in some] for some in (both, one)]
    assert without_sex[0] == without_sex[1]
    assert 0 < sum(without_sex[0]) < 20


def test_another_benchmark_seed_and_another_perturbation_draw_anew() -> None:
    cases = cohort(20)

    def lost(name: str, seed: int) -> list[bytes]:
        return [np.isnan(case.values).tobytes() for case in changed(cases, name, 0.5, seed)]

    assert lost("missing_values", 7) == lost("missing_values", 7)
    assert lost("missing_values", 7) != lost("missing_values", 8)


def test_every_name_that_is_drawn_like_is_a_perturbation_that_draws_for_itself() -> None:
    registry = load_registry()
    names = registry.names("perturbation")
    shared = {name: registry.create("perturbation", name, {}).traits.draws_like for name in names}
    of = {name: other for name, other in shared.items() if other is not None}
    assert of == {"unit_change_unlabelled": "unit_change", "feature_order_positional": "feature_order"}
