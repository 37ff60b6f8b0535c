"""Conformance tests for searches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from eagbench.contracts import rules
from eagbench.contracts.answers import Trajectory
from eagbench.contracts.components import SearchTask
from eagbench.contracts.language_models import Thought
from eagbench.contracts.records import Case
from eagbench.contracts.traits import SearchTraits, traits_of
from eagbench.prompting.answers import FeatureVocabulary, read_answer
from eagbench.prompting.styles import STYLES
from eagbench.testing.cases import content, labelled_cases
from eagbench.testing.component import ComponentConformance
from eagbench.testing.language_model import WrittenAnswers
from eagbench.testing.rewards import SALIENCE

STYLE = STYLES["question_decomposition"]
CASES = labelled_cases(3, seed=4).cases
BUDGET = 300


def read(case: Case, text: str, tokens: int, thought: Thought | None = None) -> Trajectory:
    """Parse an answer with the style's strict parser."""
    return read_answer(STYLE, case, text, tokens, FeatureVocabulary(CASES.features), thought)


def reward(trajectory: Trajectory) -> dict[str, float]:
    """Return the answer itself as the reward; -1 if it can't be parsed."""
    value = -1.0 if trajectory.probability is None else trajectory.probability
    return {"classification": value, "total": value}


def tasks() -> list[SearchTask]:
    """Make one task per case."""
    return [SearchTask(case, f"{case.case_id}: ", reward, (STYLE.answer_close,), 60, dict(SALIENCE)) for case in CASES]


class SearchConformance(ComponentConformance):
    """One result per case, within its token budget, that depends only on what the model writes."""

    kind: ClassVar[str] = "search"

    def test_one_result_per_case_best_first(self, made: Any) -> None:
        """Each trajectory is about that case and has the reward it gets."""
        given = tasks()
        results = made.run(WrittenAnswers(), given, read, BUDGET, 0)
        rules.check_results(given, results, BUDGET)
        assert all(result.trajectories for result in results)

    @pytest.mark.parametrize("budget", [2, 30, 100, BUDGET])
    def test_no_more_tokens_than_the_budget(self, made: Any, budget: int) -> None:
        """All generated tokens count, including discarded ones."""
        model, given = WrittenAnswers(), tasks()
        results = made.run(model, given, read, budget, 0)
        rules.check_results(given, results, budget)
        rules.check_spent(results, model.tokens)

    def test_the_same_seed_gives_the_same_search(self, made: Any, validated: Any) -> None:
        """Another instance gives it too, because an interrupted search resumes from a journal of the written texts."""
        first = made.run(WrittenAnswers(), tasks(), read, BUDGET, 5)
        assert first == self.component(validated).run(WrittenAnswers(), tasks(), read, BUDGET, 5)

    def test_a_case_may_hold_features_that_the_expert_does_not_read(self, made: Any) -> None:
        """An expert that is trained for several hospitals weights only their shared features."""
        shared = {name: weight for name, weight in SALIENCE.items() if name != "lactate"}
        fewer = [replace(task, salience=shared) for task in tasks()]
        assert len(made.run(WrittenAnswers(), fewer, read, BUDGET, 0)) == len(CASES)

    def test_a_case_alone_is_searched_as_among_others(self, made: Any, validated: Any) -> None:
        """For a search that says `case_by_case`: a local policy then searches each case in its own time."""
        if not traits_of(made, SearchTraits).case_by_case:
            return
        together = made.run(WrittenAnswers(), tasks(), read, BUDGET, 5)
        search = self.component(validated)
        assert list(together) == [search.run(WrittenAnswers(), [task], read, BUDGET, 5)[0] for task in tasks()]

    def test_none_and_one(self, made: Any) -> None:
        """A search without tasks is no error."""
        assert list(made.run(WrittenAnswers(), [], read, BUDGET, 0)) == []
        [result] = made.run(WrittenAnswers(), tasks()[:1], read, BUDGET, 0)
        assert result.case_id == CASES[0].case_id

    def test_nothing_that_is_given_is_changed(self, made: Any) -> None:
        """Cases and salience stay unchanged."""
        given, before = tasks(), content(CASES)
        made.run(WrittenAnswers(), given, read, BUDGET, 0)
        assert content(CASES) == before
        salience: Mapping[str, float] | None
        for task, fresh in zip(given, tasks(), strict=True):
            salience = task.salience
            assert salience == fresh.salience
