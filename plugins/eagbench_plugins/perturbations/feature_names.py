"""Writes features under another name: a synonym, or the abbreviation that a clinician would write."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from eagbench.api import Case, Cases, FeatureVocabulary, PerturbationTraits, Rendering
from eagbench_plugins.perturbations.record_change import RecordChange

_LONGEST_ABBREVIATION = 8
_SEPARATES_ANSWERS = re.compile(r"[,;\n]")


def is_abbreviation(name: str) -> bool:
    """Check whether a name is one short word with a capital letter, such as HR, SpO2, PaCO2 or HCO3-."""
    return len(name) <= _LONGEST_ABBREVIATION and " " not in name and any(letter.isupper() for letter in name)


def other_names(cases: Cases, wanted: Callable[[str], bool]) -> dict[str, tuple[Rendering, ...]]:
    """Find the wanted names of each feature among its label and its declared synonyms.

    Features without a wanted name are left out. Only names that an answer can cite are used: they name exactly one
    feature of the cohort and contain no list separator.
    """
    known = FeatureVocabulary(cases.features)
    found: dict[str, tuple[Rendering, ...]] = {}
    for feature in cases.features:
        names = tuple(
            Rendering(name, feature.unit)
            for name in (feature.label, *feature.synonyms)
            if wanted(name)
            and name.casefold() != feature.name.replace("_", " ").casefold()
            and known.match(name) == feature.name
            and not _SEPARATES_ANSWERS.search(name)
        )
        if names:
            found[feature.name] = names
    return found


def _renamed(case: Case, names: dict[str, tuple[Rendering, ...]], severity: float, seed: int) -> Case:
    able = sorted(name for name in case.features if name in names)
    rng = np.random.default_rng(seed)
    order, choice = rng.permutation(len(able)), rng.random(len(able))
    written = dict(case.renderings)
    for i in order[: round(severity * len(able))]:
        others = names[able[i]]
        written[able[i]] = others[int(choice[i] * len(others))]
    return replace(case, renderings=written)


class FeatureSynonyms(RecordChange):
    """A share of the features that have a synonym appears in the text under one, written out.

    Stands for another hospital's or laboratory's names for the same measurements: pulse rate for heart rate, blood
    sugar for glucose. The names are the label and the declared synonyms of the clinical vocabulary. An answer may cite
    them. Values and columns do not change, so it applies to text only.
    """

    name = "feature_synonyms"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0),
        severity_unit="share of the features that have a synonym",
        applies_to=frozenset({"text"}),
    )
    _names: dict[str, tuple[Rendering, ...]]

    def fit(self, cases: Cases) -> None:
        """Look up the names of the features."""
        self._names = other_names(cases, lambda name: not is_abbreviation(name))

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Write `severity` of these features under a synonym."""
        return _renamed(case, self._names, severity, seed)


class FeatureAbbreviations(RecordChange):
    """A share of the features that have an abbreviation appears in the text under it.

    Stands for notes and sheets as clinicians write them: HR, SBP, BUN, WBC. A declared synonym of one short word with a
    capital letter counts as an abbreviation. As with `feature_synonyms`, an answer may cite it, and it applies to text
    only.
    """

    name = "feature_abbreviations"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0),
        severity_unit="share of the features that have an abbreviation",
        applies_to=frozenset({"text"}),
    )
    _names: dict[str, tuple[Rendering, ...]]

    def fit(self, cases: Cases) -> None:
        """Look up the names of the features."""
        self._names = other_names(cases, is_abbreviation)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Write `severity` of these features under an abbreviation."""
        return _renamed(case, self._names, severity, seed)
