"""Numbers in another unit than is said: found for every conversion that matters, and for no small difference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eagbench.contracts.records import Cases
from eagbench.stages.unit_mismatch import FEWEST_VALUES, Suspicion, suspicions
from eagbench.vocabulary.vocabulary import vocabulary
from tests.builders import make_case, make_cohort_cases

WORDS = vocabulary()
CONVERSIONS = [
    (name, unit, conversion.factor)
    for name in WORDS.names
    for unit, conversion in WORDS.concept(name).conversions.items()
    if not conversion.offset and abs(np.log(conversion.factor)) > np.log(1.85)
]


def cohort(concept: str, center: float, n: int, seed: int) -> Cases:
    """Right-skewed values, as laboratory values are."""
    values = center * np.exp(np.random.default_rng(seed).normal(0, 0.5, n))
    return measured(concept, values)


def measured(concept: str, values: np.ndarray[Any, Any]) -> Cases:
    items = [make_case({concept: [value]}, case_id=f"{i}") for i, value in enumerate(values)]
    return make_cohort_cases(items, (concept,))


def found(concept: str, first: Cases, second: Cases) -> list[tuple[bool, str]]:
    return [(s.is_second, s.found) for s in suspicions(first, second, (concept,))]


def test_there_are_conversions_to_look_for() -> None:
    assert len(CONVERSIONS) > 30
    assert {"urea_nitrogen", "magnesium", "c_reactive_protein", "d_dimer", "bilirubin_total", "weight"} <= {
        name for name, _, _ in CONVERSIONS
    }


@pytest.mark.parametrize(("concept", "unit", "factor"), CONVERSIONS)
def test_every_conversion_by_a_large_factor_is_found_in_either_domain(concept: str, unit: str, factor: float) -> None:
    """The other hospital's patients are a fifth apart, and its numbers in the other unit."""
    right = cohort(concept, 20.0, 200, seed=1)
    wrong = cohort(concept, 20.0 * 1.2 / factor, 150, seed=2)
    assert (True, unit) in found(concept, right, wrong)
    assert (False, unit) in found(concept, wrong, right)
    [first, *_] = suspicions(right, wrong, (concept,))
    assert isinstance(first, Suspicion)
    assert first.expected == WORDS.concept(concept).unit
    assert first.medians[1] / first.medians[0] == pytest.approx(1.2 / factor, rel=0.25)


@pytest.mark.parametrize("concept", sorted({name for name, _, _ in CONVERSIONS}))
@pytest.mark.parametrize("ratio", [1.0, 0.75, 1.33])
def test_patients_who_differ_by_a_third_are_not_suspected(concept: str, ratio: float) -> None:
    assert found(concept, cohort(concept, 20.0, 300, seed=1), cohort(concept, 20.0 * ratio, 300, seed=2)) == []


@pytest.mark.parametrize("is_second", [True, False])
def test_degrees_fahrenheit_are_found_although_no_factor_makes_them(is_second: bool) -> None:
    celsius = np.random.default_rng(0).normal(37.0, 0.7, 200)
    sides = [measured("temperature", celsius), measured("temperature", celsius[:150] * 1.8 + 32)]
    assert found("temperature", *(sides if is_second else sides[::-1])) == [(is_second, "degF")]
    assert found("temperature", sides[0], measured("temperature", celsius[:150] + 1.5)) == []


def test_a_quartile_of_zero_hides_no_other_unit() -> None:
    """A third of the hours are without urine: the lower quartile has no logarithm, the two above it have."""
    hours = np.where(np.arange(300) % 3 == 0, 0.0, 80 * np.exp(np.random.default_rng(1).normal(0, 0.5, 300)))
    right = measured("urine_output", hours)
    assert found("urine_output", right, measured("urine_output", hours[:200] / 1000)) == [(True, "L")]
    assert found("urine_output", right, measured("urine_output", np.zeros(200))) == []


def test_a_few_values_and_other_shapes_are_not_judged() -> None:
    concept, _, factor = next(c for c in CONVERSIONS if c[0] == "urea_nitrogen")
    right = cohort(concept, 20.0, 200, seed=1)
    few = cohort(concept, 20.0 / factor, FEWEST_VALUES - 1, seed=2)
    assert found(concept, right, few) == []
    # The median fits a unit, the quartiles do not: other patients, and no other unit.
    spread = np.concatenate([np.full(100, 0.5), np.full(3, 20 / factor), np.full(100, 90.0)])
    assert found(concept, right, measured(concept, spread)) == []
    assert list(suspicions(right, right, ("ward_color",))) == []
