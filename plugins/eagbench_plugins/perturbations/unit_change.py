"""Measurements in another unit: with the unit's label (the text says so), or without it (the number alone changes)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import Case, Cases, PerturbationTraits, Rendering, vocabulary
from eagbench_plugins.perturbations.record_change import RecordChange


def other_units(cases: Cases) -> dict[str, Rendering]:
    """How each feature that has another unit is written in it, by the clinical vocabulary's conversions.

    The first conversion of a concept that changes the number is taken: mEq/L instead of mmol/L is another label only.
    """
    vocab = vocabulary()
    found: dict[str, Rendering] = {}
    for feature in cases.features:
        if feature.name not in vocab.names or vocab.concept(feature.name).unit != feature.unit:
            continue
        for unit, conversion in vocab.concept(feature.name).conversions.items():
            if (conversion.factor, conversion.offset) != (1.0, 0.0):
                # The vocabulary converts into its own unit; here the way leads back.
                factor, offset = 1.0 / conversion.factor, -conversion.offset / conversion.factor
                found[feature.name] = Rendering(feature.name, unit, factor, offset)
                break
    return found


def _changed(case: Case, units: dict[str, Rendering], severity: float, seed: int) -> list[str]:
    """The features whose unit changes: the first of one random list of those that can, by name."""
    able = sorted(name for name in case.features if name in units)
    order = np.random.default_rng(seed).permutation(len(able))
    return [able[i] for i in order[: round(severity * len(able))]]


class UnitChange(RecordChange):
    """A share of the features that have another unit in use is written in it, with its label and reference range.

    Stands for a record from a hospital with other units (glucose in mmol/L, temperature in degF). What is meant stays
    the same, so the case's values stay what they are and only the text changes: number, unit and reference range
    together. A model that reads columns gets converted numbers from an interface that reads the label, and is then
    unchanged (its clean result); from one that does not, wrong ones (its result under `unit_change_unlabelled`). A
    text in quantile bins, which names no unit, does not change either.
    """

    name = "unit_change"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0),
        severity_unit="share of the features that have another unit",
        applies_to=frozenset({"text"}),
    )
    _units: dict[str, Rendering]

    def fit(self, cases: Cases) -> None:
        """Looks up which features have another unit."""
        self._units = other_units(cases)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """The case with `severity` of these features written in their other unit."""
        changed = {name: self._units[name] for name in _changed(case, self._units, severity, seed)}
        return replace(case, renderings={**case.renderings, **changed})


class UnitChangeUnlabelled(RecordChange):
    """A share of the features that have another unit is given in it under the old label: the number alone changes.

    Stands for a hospital or a laboratory that changes a unit without the receiving system being told. Every reader
    sees wrong numbers. The features and their units are those of `unit_change`.
    """

    name = "unit_change_unlabelled"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0),
        severity_unit="share of the features that have another unit",
        draws_like=UnitChange.name,
    )
    _units: dict[str, Rendering]

    def fit(self, cases: Cases) -> None:
        """Looks up which features have another unit."""
        self._units = other_units(cases)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """The case with the numbers of `severity` of these features in their other unit."""
        values = case.values.copy()
        for name in _changed(case, self._units, severity, seed):
            column = case.features.index(name)
            values[:, column] = values[:, column] * self._units[name].factor + self._units[name].offset
        return replace(case, values=values)
