"""Conformance tests for data sets."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
from pydantic import BaseModel

from eagbench.contracts.components import SourceGenerator
from eagbench.contracts.records import Access, Cohort
from eagbench.contracts.rules import check_cohort
from eagbench.contracts.stages import StageRun
from eagbench.stages.cohort import load, read_cohort
from eagbench.stages.cohort_files import read_cases, read_labels, read_stored, write_cohort
from eagbench.testing.cases import content
from eagbench.testing.component import ComponentConformance


class DatasetConformance(ComponentConformance):
    """A cohort matches its own description, and loading it again gives the same one.

    Override the fixture `given_params` if the data are in a folder that another fixture makes.
    """

    kind: ClassVar[str] = "dataset"

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, validated: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
        """Generate the source files and return their folder, or None for a data set with files."""
        dataset = cls.component(validated)
        files = list(dataset.files())
        if files:
            assert all(path.is_file() for path in files)
            return None
        assert isinstance(dataset, SourceGenerator), "it lists no files, so it needs `generate`"
        folder = tmp_path_factory.mktemp("source")
        dataset.generate(StageRun({}, {}, 0, folder))
        assert any(path.is_file() for path in folder.rglob("*"))
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def cohort(cls, validated: BaseModel, source: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
        """Load the cohort."""
        return cls()._load(validated, source, tmp_path_factory.mktemp("cohort"))

    def _load(self, validated: BaseModel, source: Path | None, folder: Path) -> Cohort:
        inputs = {} if source is None else {"source": source}
        return read_cohort(self.component(validated), StageRun({}, inputs, 0, folder))

    def test_access_is_declared(self, made: Any, cohort: Cohort) -> None:
        """Access is open, synthetic or credentialed. The provenance says the same, with a citation."""
        assert made.access() in get_args(Access)
        assert cohort.provenance.access == made.access()
        assert cohort.provenance.citation

    def test_one_label_per_case_of_both_outcomes(self, cohort: Cohort) -> None:
        """Labels are 0 or 1, and case ids are unique."""
        check_cohort(cohort)
        assert len(cohort.cases) > 0
        assert set(np.unique(cohort.labels)) == {0, 1}

    def test_cases_keep_to_the_description(self, cohort: Cohort) -> None:
        """Times increase within the window, and values exist and are in their plausible range."""
        cases = cohort.cases
        names = set(cases.feature_names)
        assert len(names) == len(cases.features)
        low, high = (np.array([feature.plausible[i] for feature in cases.features]) for i in (0, 1))
        seen = np.zeros(len(names), dtype=bool)
        for case in cases:
            assert set(cases.static_names) <= set(case.static)
            values = case.values_in_order(cases.feature_names).astype(np.float64)  # (T, F)
            missing = np.isnan(values)
            tolerance = 1e-6 * np.maximum(np.abs(low), np.abs(high))
            assert (missing | ((values >= low - tolerance) & (values <= high + tolerance))).all()
            seen |= ~missing.all(axis=0)
        assert seen.any()

    def test_what_stands_beside_the_cases_is_as_long(self, cohort: Cohort) -> None:
        """Groups and reference probabilities have one entry per case."""
        check_cohort(cohort)
        for values in cohort.reference_probabilities.values():
            assert np.shape(values) == (len(cohort.cases),)
            assert ((values >= 0) & (values <= 1)).all()

    def test_loaded_again_it_is_the_same(
        self, validated: BaseModel, source: Path | None, cohort: Cohort, tmp_path: Path
    ) -> None:
        """Loading the cohort again gives the same one to the bit."""
        again = self._load(validated, source, tmp_path)
        assert content(again.cases) == content(cohort.cases)
        np.testing.assert_array_equal(again.labels, cohort.labels)
        assert again.provenance == cohort.provenance

    def test_the_cohort_stage_stores_it_within_its_row_groups(
        self, validated: BaseModel, source: Path | None, cohort: Cohort, tmp_path: Path
    ) -> None:
        """The `cohort` stage writes the cohort block by block, and the same one is read back. Scratch is apart."""
        dataset = self.component(validated)
        run = StageRun({}, {} if source is None else {"source": source}, 0, tmp_path, component=dataset)
        load(run)
        left = {path.name for path in tmp_path.iterdir()} - {"checkpoints"}
        assert left == {"cases.parquet", "measurements.parquet", "labels.parquet", "cohort.json"}
        stored = read_stored(tmp_path)
        facts = [json.dumps(asdict(found.provenance), sort_keys=True) for found in (stored, cohort)]
        assert facts[0] == facts[1]
        assert stored.groups == cohort.groups
        np.testing.assert_array_equal(stored.labels, cohort.labels)

    def test_stored_and_read_it_is_the_same(self, cohort: Cohort, tmp_path: Path) -> None:
        """The cohort is the same after the `cohort` stage writes it and the other stages read it."""
        write_cohort(cohort, tmp_path)
        read = read_cases(tmp_path)
        assert (read.features, read.task) == (cohort.cases.features, cohort.cases.task)
        assert [content([case])[0][:2] for case in read] == [content([case])[0][:2] for case in cohort.cases]
        for stored, loaded in zip(read, cohort.cases, strict=True):
            np.testing.assert_array_equal(stored.times, loaded.times)
            np.testing.assert_array_equal(stored.values, loaded.values_in_order(read.feature_names))
        assert list(read_labels(tmp_path).values()) == list(cohort.labels)
