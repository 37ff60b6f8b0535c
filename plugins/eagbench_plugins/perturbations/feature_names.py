"""Writes features under another name: a synonym, or the abbreviation that a clinician would write."""

from __future__ import annotations

from typing import ClassVar

from eagbench.api import (
    Case,
    Cases,
    NameKind,
    NamePart,
    PerturbationTraits,
    Rendering,
    StrictParams,
    other_names,
    under_other_names,
)
from eagbench_plugins.perturbations.record_change import RecordChange


class NameParams(StrictParams):
    """Which names.

    Attributes:
        names: `all`; or `test`, those that no training with `other_names` has met; or `train`, the others.
    """

    names: NamePart = "all"


class _OtherNames(RecordChange):
    """Base: a share of the features that have a name of one kind is written under one."""

    kind: ClassVar[NameKind]
    Params: ClassVar[type[StrictParams]] = NameParams
    _names: dict[str, tuple[Rendering, ...]]

    def __init__(self, params: NameParams) -> None:
        super().__init__(params)
        self._part = params.names

    def fit(self, cases: Cases) -> None:
        """Look up the names of the features."""
        self._names = other_names(cases.features, (self.kind,), self._part)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Write `severity` of these features under another name."""
        return under_other_names(case, self._names, severity, seed)


class FeatureSynonyms(_OtherNames):
    """A share of the features that have a synonym appears in the text under one, written out.

    Stands for another hospital's or laboratory's names for the same measurements: pulse rate for heart rate, blood
    sugar for glucose. The names are the label and the declared synonyms of the clinical vocabulary. An answer may cite
    them. Values and columns do not change, so it applies to text only.
    """

    name = "feature_synonyms"
    kind = "synonym"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0),
        severity_unit="share of the features that have a synonym",
        applies_to=frozenset({"text"}),
    )


class FeatureAbbreviations(_OtherNames):
    """A share of the features that have an abbreviation appears in the text under it.

    Stands for notes and sheets as clinicians write them: HR, SBP, BUN, WBC. A declared synonym of one short word with a
    capital letter counts as an abbreviation. As with `feature_synonyms`, an answer may cite it, and it applies to text
    only.
    """

    name = "feature_abbreviations"
    kind = "abbreviation"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0),
        severity_unit="share of the features that have an abbreviation",
        applies_to=frozenset({"text"}),
    )
