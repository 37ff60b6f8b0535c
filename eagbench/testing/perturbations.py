"""Conformance tests for perturbations."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from eagbench.contracts.records import Case, Cases
from eagbench.contracts.rules import check_perturbed
from eagbench.contracts.traits import PerturbationTraits, traits_of
from eagbench.testing.blocks import in_blocks
from eagbench.testing.cases import content, labelled_cases, odd_cases
from eagbench.testing.component import ComponentConformance

SEEDS = (0, 1, 2**31)


class PerturbationConformance(ComponentConformance):
    """Severity 0 changes nothing, a higher severity changes no less, and the same seed gives the same change."""

    kind: ClassVar[str] = "perturbation"

    @pytest.fixture
    def cases(self) -> Cases:
        """Make cases without missing values, all values different."""
        return labelled_cases(6, seed=5, missing=0.0).cases

    @pytest.fixture
    def fitted(self, made: Any) -> Any:
        """Fit the perturbation on other cases, without their labels."""
        made.fit(labelled_cases(40, seed=6).cases)
        return made

    def test_levels_rise_and_are_permitted(self, made: Any) -> None:
        """Each of the five levels is a valid severity, and negative or NaN severities are refused."""
        for severity in levels_of(made):
            made.check_severity(severity)
        for severity in (-1.0, float("nan")):
            with pytest.raises(ValueError, match=r"\w"):
                made.check_severity(severity)

    def test_severity_zero_changes_nothing(self, fitted: Any, cases: Cases) -> None:
        """All cases stay the same to the bit, odd ones included."""
        for some in (cases, odd_cases()):
            for seed in SEEDS:
                assert content([fitted.apply(case, 0.0, seed) for case in some]) == content(some)

    def test_the_highest_level_changes_something(self, fitted: Any, cases: Cases) -> None:
        """At least one of a few cases changes."""
        assert content([fitted.apply(case, levels_of(fitted)[-1], 0) for case in cases]) != content(cases)

    def test_a_higher_severity_changes_at_least_what_a_lower_one_does(self, fitted: Any, cases: Cases) -> None:
        """The number of changes does not fall for the same seed; a perturbation's own tests check which ones."""
        for case in cases:
            for seed in SEEDS:
                changed = [changes(case, fitted.apply(case, severity, seed)) for severity in (0.0, *levels_of(fitted))]
                for lower, higher in itertools.pairwise(changed):
                    assert lower <= higher

    def test_the_same_seed_gives_the_same_change(self, fitted: Any, cases: Cases) -> None:
        """Perturbing other cases in between makes no difference."""
        for severity in levels_of(fitted):
            first = content([fitted.apply(case, severity, 3) for case in cases])
            again = content([fitted.apply(case, severity, 3) for case in reversed(list(cases))])
            assert first == again[::-1]

    def test_the_same_training_cases_give_the_same_perturbation(
        self, fitted: Any, cases: Cases, validated: BaseModel
    ) -> None:
        """`fit` draws no random numbers."""
        other = self.component(validated)
        other.fit(labelled_cases(40, seed=6).cases)
        level = levels_of(fitted)[2]
        assert content([other.apply(c, level, 1) for c in cases]) == content([fitted.apply(c, level, 1) for c in cases])

    def test_cases_of_a_large_cohort_do_as_well(self, fitted: Any, cases: Cases, validated: BaseModel) -> None:
        """Fitted on cases that are read in blocks, it does the same to each case of such a sequence."""
        other = self.component(validated)
        other.fit(in_blocks(labelled_cases(40, seed=6).cases))
        level = levels_of(fitted)[2]
        changed = in_blocks(cases).changed(lambda _, some: [other.apply(case, level, 1) for case in some])
        assert content(changed) == content([fitted.apply(case, level, 1) for case in cases])

    def test_input_and_ids_are_left_alone(self, fitted: Any, cases: Cases) -> None:
        """A changed case is a new case of the same patient."""
        for some in (cases, odd_cases()):
            before = content(some)
            highest = levels_of(fitted)[-1]
            changed = [fitted.apply(case, highest, 2) for case in some]
            assert content(some) == before
            for case, after in zip(some, changed, strict=True):
                check_perturbed(case, after, highest)

    def test_fit_leaves_its_cases_alone(self, made: Any) -> None:
        """All stages of a process share the training cases."""
        cases = labelled_cases(10, seed=8).cases
        made.fit(cases)
        assert content(cases) == content(labelled_cases(10, seed=8).cases)


def levels_of(perturbation: Any) -> tuple[float, ...]:
    """Return the severities of a perturbation's five levels."""
    return traits_of(perturbation, PerturbationTraits).levels


def changes(before: Case, after: Case) -> int:
    """Count the changes in a record: values at their times, places of features, facts, names and units, lines, prompts.

    A moved item counts once, at its original place. Added rows count as well.
    """
    cells = _cells(before)
    left = _cells(after)
    count = sum((cells - left).values()) + max(0, len(after.times) - len(before.times))
    places = {name: i for i, name in enumerate(after.features)}
    count += sum(places.get(name) != i for i, name in enumerate(before.features))
    count += sum(repr(value) != repr(after.static.get(name)) for name, value in before.static.items())
    return count + len(after.renderings) + len(after.distractors) + len(after.wordings)


def _cells(case: Case) -> Counter[tuple[float, str, float]]:
    """Count the observed values with their times and features."""
    return Counter(
        (float(time), name, float(value))
        for time, row in zip(case.times, case.values, strict=True)
        for name, value in zip(case.features, row, strict=True)
        if value == value
    )
