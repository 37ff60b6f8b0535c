"""Conformance tests for rewards."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from eagbench.contracts import rules
from eagbench.contracts.answers import Trajectory
from eagbench.contracts.components import ComparesPatients
from eagbench.contracts.records import Case
from eagbench.testing.cases import FEATURES, content, described, labelled_cases, odd_cases
from eagbench.testing.component import ComponentConformance

SALIENCE: Mapping[str, float] = {name: (i + 1) / 15 for i, name in enumerate(FEATURES)}
ATTENTION: Mapping[str, float] = {"heart_rate": 0.5, "lactate": 0.3, "platelets": 0.2}
CITATIONS: tuple[tuple[str, ...] | None, ...] = (None, (), ("lactate",), FEATURES)
PROBABILITIES = (0.0, 0.01, 0.3, 0.5, 0.9, 1.0)


def answer(probability: float | None, cited: tuple[str, ...] | None, tokens: int, case: Case) -> Trajectory:
    """Make a trajectory as a policy might have written it."""
    return Trajectory(case.case_id, "text", (), cited, 0, probability, tokens, ATTENTION)


class RewardConformance(ComponentConformance):
    """A reward has finite named parts and their total, and an unparsed answer gets less than the worst parsed one."""

    kind: ClassVar[str] = "reward"

    @pytest.fixture
    def made(self, validated: BaseModel) -> Any:
        """Make a new instance, and show it the cases first if it compares patients."""
        made = self.component(validated)
        if isinstance(made, ComparesPatients):
            cases = described([*labelled_cases(3).cases, *odd_cases()])
            made.fit(cases, dict.fromkeys(cases.case_ids, SALIENCE), dict.fromkeys(cases.case_ids, 0.3))
        return made

    def test_parts_are_finite_numbers_with_a_total(self, made: Any) -> None:
        """This holds for any answer, and for odd cases as well."""
        for case in (labelled_cases(1).cases[0], *odd_cases()):
            for label, probability, cited in itertools.product((0, 1), (None, *PROBABILITIES), CITATIONS):
                rules.check_reward(made(case, label, answer(probability, cited, 20, case), SALIENCE))

    def test_the_case_may_hold_features_that_the_expert_does_not_read(self, made: Any) -> None:
        """An expert that is trained for several hospitals weights only their shared features."""
        shared = {name: weight for name, weight in SALIENCE.items() if name != "lactate"}
        case = labelled_cases(1, missing=0.0).cases[0]
        for label, probability, cited in itertools.product((0, 1), (None, *PROBABILITIES), CITATIONS):
            rules.check_reward(made(case, label, answer(probability, cited, 20, case), shared))

    def test_an_unparsed_answer_gets_less_than_the_worst_parsed_one(self, made: Any) -> None:
        """This holds whatever the answers cite, and however long they are.

        Otherwise a policy would learn to write answers that can't be parsed.
        """
        case = labelled_cases(1, missing=0.0).cases[0]
        for label in (0, 1):
            parsed = [
                made(case, label, answer(p, cited, tokens, case), SALIENCE)["total"]
                for p, cited, tokens in itertools.product(PROBABILITIES, CITATIONS, (5, 500))
            ]
            unparsed = [
                made(case, label, answer(None, cited, tokens, case), SALIENCE)["total"]
                for cited, tokens in itertools.product(CITATIONS, (5, 500))
            ]
            rules.check_unparsed_reward(max(unparsed), min(parsed))

    def test_the_same_answer_gets_the_same_reward(self, made: Any) -> None:
        """A reward draws no random numbers and keeps no state."""
        cases = labelled_cases(3).cases
        judged = [dict(made(case, 1, answer(0.7, ("lactate",), 9, case), SALIENCE)) for case in cases]
        again = [dict(made(case, 1, answer(0.7, ("lactate",), 9, case), SALIENCE)) for case in reversed(list(cases))]
        assert judged == again[::-1]

    def test_nothing_that_is_given_is_changed(self, made: Any) -> None:
        """Other code uses the same case, trajectory and salience."""
        case, salience = labelled_cases(1).cases[0], dict(SALIENCE)
        given, before = answer(0.4, ("lactate",), 9, case), content([case])
        made(case, 0, given, salience)
        assert content([case]) == before
        assert given == answer(0.4, ("lactate",), 9, case)
        assert list(salience.items()) == list(SALIENCE.items())
