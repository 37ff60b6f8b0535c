"""What components declare about themselves, and names that have changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.stages import StageRun
from eagbench.contracts.traits import (
    DatasetTraits,
    ExpertTraits,
    MethodTraits,
    MetricTraits,
    PerturbationTraits,
    RewardTraits,
    traits_of,
)
from eagbench.stages.cohort import read_cohort

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5)


class Declares:
    traits: ClassVar[MetricTraits] = MetricTraits(better="lower", columns=("tokens",))


class DependsOnParams:
    @property
    def traits(self) -> DatasetTraits:
        return DatasetTraits(hospitals=("a",))


class OldStyle:
    """As plugins were written before there were traits."""

    needs_salience = True
    components: ClassVar[dict[str, str]] = {"parts": "reward"}


def test_traits_are_read_from_class_or_instance_and_defaults_stand_in() -> None:
    assert traits_of(Declares, MetricTraits).columns == ("tokens",)
    assert traits_of(DependsOnParams(), DatasetTraits).hospitals == ("a",)
    assert traits_of(object(), ExpertTraits) == ExpertTraits()


def test_old_class_attributes_work_for_one_release_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match=r"write `traits = RewardTraits\(parts=..., needs_salience=...\)`"):
        found = traits_of(OldStyle(), RewardTraits)
    assert (found.needs_salience, found.parts) == (True, {"parts": "reward"})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: MetricTraits(better="up"), "better is higher, lower or neither"),
        (lambda: MetricTraits(better="lower", columns="tokens"), "columns is a tuple"),
        (lambda: MetricTraits(better="lower", no_skill="chance"), "no_skill is a number"),
        (lambda: MetricTraits(better="lower", table="costs"), "table is main"),
        (lambda: PerturbationTraits(levels=(0.2, 0.1, 0.3, 0.4, 0.5)), "five rising severities"),
        (lambda: PerturbationTraits(levels=LEVELS, applies_to=frozenset({"images"})), "applies_to holds"),
        (lambda: MethodTraits(reads="images"), "reads is one of"),
        (lambda: RewardTraits(former_names="eag"), "former_names is a tuple"),
    ],
)
def test_a_wrong_trait_is_refused_where_it_is_written(make: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make()


def test_traits_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="`traits` is a RewardTraits"):
        traits_of(Declares, RewardTraits)


def test_what_a_method_without_skill_gets() -> None:
    assert MetricTraits(better="higher", no_skill=0.5).without_skill(None) == 0.5
    assert MetricTraits(better="higher", no_skill="event_rate").without_skill(0.2) == 0.2
    assert MetricTraits(better="lower", no_skill="event_variance").without_skill(0.2) == pytest.approx(0.16)
    assert MetricTraits(better="lower", no_skill="event_variance").without_skill(None) is None


def test_the_former_fields_of_scored_cases_are_taken_and_read_with_a_warning() -> None:
    expert, frequent = (frozenset({"a"}),), (frozenset({"b"}),)
    with pytest.warns(DeprecationWarning, match=r"ScoredCases\((teacher|constant)=...\) is called"):
        scored = ScoredCases(np.array([0.5]), np.array([1]), np.array([True]), teacher=expert, constant=frequent)  # type: ignore[call-arg]
    assert (scored.reference, scored.baseline) == (expert, frequent)
    with pytest.warns(DeprecationWarning, match=r"ScoredCases.teacher is called ScoredCases.reference"):
        assert scored.teacher == expert  # type: ignore[attr-defined]
    assert dataclasses.replace(scored, reference=frequent).reference == frequent


class OldDataset:
    """Its `load` takes the generated folder as an argument."""

    def load(self, source: Path | None, run: StageRun) -> Any:
        return source


def test_a_data_set_whose_load_takes_the_source_is_read(tmp_path: Path) -> None:
    run = StageRun({}, {"source": tmp_path}, 0, tmp_path)
    with pytest.warns(DeprecationWarning, match=r"OldDataset.load\(source, run\) is called load\(run\)"):
        assert read_cohort(OldDataset(), run) == tmp_path
