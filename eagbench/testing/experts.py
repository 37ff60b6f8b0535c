"""Conformance tests for experts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic import BaseModel

from eagbench.contracts.components import Expert
from eagbench.contracts.records import Cases, FloatArray, TrainingData
from eagbench.contracts.rules import check_files, check_probability, check_salience
from eagbench.contracts.stages import StageRun
from eagbench.testing.blocks import in_blocks, training_in_blocks
from eagbench.testing.cases import (
    content,
    in_another_order,
    labelled_cases,
    odd_cases,
    training_data,
    with_a_further_feature,
    with_dull_features,
)
from eagbench.testing.component import ComponentConformance


class ExpertConformance(ComponentConformance):
    """Probabilities and salience follow their contract for any cases, and stay the same after `load`."""

    kind: ClassVar[str] = "expert"

    def _fit(self, validated: BaseModel, data: TrainingData, folder: Path, seed: int = 0) -> Expert:
        expert: Expert = self.component(validated)
        folder.mkdir(parents=True, exist_ok=True)
        expert.fit(data, StageRun(params={}, inputs={}, seed=seed, out=folder))
        return expert

    @pytest.fixture(scope="class")
    @classmethod
    def expert(cls, validated: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Expert:
        """Fit the expert on 60 cases."""
        return cls()._fit(validated, training_data(), tmp_path_factory.mktemp("expert"))

    @pytest.fixture
    def cases(self) -> Cases:
        """Generate cases that the expert was not fitted on."""
        return labelled_cases(30, seed=7).cases

    def test_probability_and_salience(self, expert: Expert, cases: Cases) -> None:
        """Each case has one probability; its weights are non-negative and sum to 1."""
        assert_keeps_contract(expert, cases)

    def test_odd_empty_and_single_batches(self, expert: Expert) -> None:
        """The expert handles odd cases (no time, nothing measured, extremes), an empty batch and single cases."""
        odd = odd_cases()
        for some in (odd, odd.select([]), *(odd.select([n]) for n in range(len(odd)))):
            assert_keeps_contract(expert, some)

    def test_a_case_is_answered_alike_alone_and_among_others(self, expert: Expert, cases: Cases) -> None:
        """The answer to a case does not depend on the rest of the batch."""
        together, weights = expert.predict(cases), expert.salience(cases)
        for n in (0, len(cases) - 1):
            alone = cases.select([n])
            np.testing.assert_allclose(expert.predict(alone)[0], together[n], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(expert.salience(alone)[0], weights[n], rtol=1e-3, atol=1e-5)

    def test_features_are_found_by_name(self, expert: Expert, cases: Cases) -> None:
        """The order in which a record lists its features makes no difference."""
        other = in_another_order(cases)
        np.testing.assert_allclose(expert.predict(other), expert.predict(cases), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(expert.salience(other), expert.salience(cases), rtol=1e-5, atol=1e-7)

    def test_a_feature_that_training_did_not_have_is_passed_over(self, expert: Expert, cases: Cases) -> None:
        """An expert finds its own features, even if a method gets another hospital's full record."""
        more = with_a_further_feature(cases)
        np.testing.assert_allclose(expert.predict(more), expert.predict(cases), rtol=1e-5, atol=1e-7)
        assert_keeps_contract(expert, more)

    def test_training_on_constant_and_missing_features(
        self, validated: BaseModel, cases: Cases, tmp_path: Path
    ) -> None:
        """A feature that never varies and one that is never measured do no harm."""
        data = training_data()
        dull = TrainingData(with_dull_features(data.train), with_dull_features(data.tuning))
        assert_keeps_contract(self._fit(validated, dull, tmp_path / "fit"), cases)

    def test_the_same_seed_gives_the_same_expert(
        self, validated: BaseModel, expert: Expert, cases: Cases, tmp_path: Path
    ) -> None:
        """Fitting again on equal data gives the same answers to the bit."""
        assert_same_answers(self._fit(validated, training_data(), tmp_path / "fit"), expert, cases)

    def test_cases_of_a_large_cohort_do_as_well(
        self, validated: BaseModel, expert: Expert, cases: Cases, tmp_path: Path
    ) -> None:
        """Cases that are read in blocks, and again in every pass, give the same expert and the same answers."""
        fitted = self._fit(validated, training_in_blocks(training_data()), tmp_path / "fit")
        assert_same_answers(fitted, expert, cases)
        np.testing.assert_array_equal(expert.predict(in_blocks(cases)), expert.predict(cases))
        np.testing.assert_array_equal(expert.salience(in_blocks(cases)), expert.salience(cases))

    def test_nothing_that_is_given_is_changed(
        self, validated: BaseModel, expert: Expert, cases: Cases, tmp_path: Path
    ) -> None:
        """Neither training nor prediction changes cases or labels."""
        data = training_data()
        self._fit(validated, data, tmp_path / "fit")
        expert.predict(cases)
        expert.salience(cases)
        fresh = training_data()
        assert content(cases) == content(labelled_cases(30, seed=7).cases)
        for given, drawn in ((data.train, fresh.train), (data.tuning, fresh.tuning)):
            assert content(given.cases) == content(drawn.cases)
            np.testing.assert_array_equal(given.labels, drawn.labels)

    def test_saved_and_loaded_it_answers_the_same(
        self, validated: BaseModel, expert: Expert, cases: Cases, tmp_path: Path
    ) -> None:
        """`load` needs only the folder that `save` wrote, and the folder contains no pickle."""
        folder = tmp_path / "saved"
        folder.mkdir()
        expert.save(folder)
        check_files(folder)
        assert_same_answers(self.component.load(validated, folder), expert, cases)


def assert_keeps_contract(expert: Expert, cases: Cases) -> None:
    """Check the shapes and ranges of probabilities and salience."""
    check_probability(expert.predict(cases), len(cases))
    check_salience(expert.salience(cases), len(cases), len(cases.features))


def assert_same_answers(first: Expert, second: Expert, cases: Cases) -> None:
    """Check that two experts give the same answers to the bit."""
    answers: list[tuple[FloatArray, FloatArray]] = [(e.predict(cases), e.salience(cases)) for e in (first, second)]
    for a, b in zip(*answers, strict=True):
        np.testing.assert_array_equal(a, b)
