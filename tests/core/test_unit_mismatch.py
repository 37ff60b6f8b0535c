"""Numbers in another unit than is said: found for every conversion that matters, and for no small difference."""

from __future__ import annotations

import numpy as np
import pytest

from eagbench.types import Cases
from eagbench.unit_mismatch import FEWEST_VALUES, Suspicion, suspicions
from eagbench.vocabulary import vocabulary
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


def test_a_few_values_and_other_shapes_are_not_judged() -> None:
    concept, _, factor = next(c for c in CONVERSIONS if c[0] == "urea_nitrogen")
    right = cohort(concept, 20.0, 200, seed=1)
    few = cohort(concept, 20.0 / factor, FEWEST_VALUES - 1, seed=2)
    assert found(concept, right, few) == []
    # The median fits a unit, the quartiles do not: other patients, and no other unit.
    spread = np.concatenate([np.full(100, 0.5), np.full(3, 20 / factor), np.full(100, 90.0)])
    items = [make_case({concept: [value]}, case_id=f"{i}") for i, value in enumerate(spread)]
    assert found(concept, right, make_cohort_cases(items, (concept,))) == []
    assert list(suspicions(right, right, ("ward_color",))) == []
