"""Gives measurements in another unit: with the unit's label (the text says so), or without (only numbers change)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import Case, Cases, PerturbationTraits, Rendering, vocabulary
from eagbench_plugins.perturbations.record_change import RecordChange


def other_units(cases: Cases) -> dict[str, Rendering]:
    """Find how to write each feature that has another unit in it, by the clinical vocabulary's conversions.

    The first conversion of a concept that changes the number is used: mEq/L instead of mmol/L only changes the label.
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
    """Choose the features whose unit changes: the first of one random list of those that can, by name."""
    able = sorted(name for name in case.features if name in units)
    order = np.random.default_rng(seed).permutation(len(able))
    return [able[i] for i in order[: round(severity * len(able))]]


class UnitChange(RecordChange):
    """A share of the features that have another common unit is written in it, with its label and reference range.

    Stands for a record from a hospital with other units (glucose in mmol/L, temperature in degF). The meaning stays the
    same, so the case's values do not change and only the text does: number, unit and reference range together. For a
    model that reads columns, it depends on the interface. One that reads the label converts the numbers, so the model
    is unaffected (its clean result). One that does not passes on wrong numbers (its result under
    `unit_change_unlabelled`). A text in quantile bins, which names no unit, does not change either.
    """

    name = "unit_change"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0),
        severity_unit="share of the features that have another unit",
        applies_to=frozenset({"text"}),
    )
    _units: dict[str, Rendering]

    def fit(self, cases: Cases) -> None:
        """Look up which features have another unit."""
        self._units = other_units(cases)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Write `severity` of these features in their other unit."""
        changed = {name: self._units[name] for name in _changed(case, self._units, severity, seed)}
        return replace(case, renderings={**case.renderings, **changed})


class UnitChangeUnlabelled(RecordChange):
    """A share of the features that have another unit is given in it under the old label: only the number changes.

    Stands for a hospital or a laboratory that changes a unit without telling the receiving system. Every reader sees
    wrong numbers. The features and their units are those of `unit_change`.
    """

    name = "unit_change_unlabelled"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0),
        severity_unit="share of the features that have another unit",
        draws_like=UnitChange.name,
    )
    _units: dict[str, Rendering]

    def fit(self, cases: Cases) -> None:
        """Look up which features have another unit."""
        self._units = other_units(cases)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Convert the numbers of `severity` of these features to their other unit."""
        values = case.values.copy()
        for name in _changed(case, self._units, severity, seed):
            column = case.features.index(name)
            values[:, column] = values[:, column] * self._units[name].factor + self._units[name].offset
        return replace(case, values=values)
