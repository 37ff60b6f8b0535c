"""Measures whether an answer rests on the features that it cites, from probabilities of changed records.

After comprehensiveness and sufficiency of ERASER (DeYoung et al., ACL 2020); the stage `reread` has the readings and
the departures. The number of a case is |p - p'|: p by expectation on the record as it is, p' on the changed one. Noise
moves an answer, too, and so does a change of any feature that matters to everybody: read a number beside
`citation_reread_noise`, and claim only what goes beyond both controls.

A case without one of its readings (an answer that could not be read) has no part in a metric.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray
from eagbench.contracts.rereading import AGAIN, AS_IS, Reading
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.mean_over_cases import MeanOverCases
from eagbench.stats.weighted import weighted_mean

UNDEFINED = (
    "the method cites no features, the record was changed already by a perturbation, or the benchmark has no reference"
    " expert"
)


class RereadMetric(MeanOverCases):
    """Base: the mean of `per_case` over the cases that have all readings it needs; NaN marks those that lack one."""

    traits: ClassVar[MetricTraits]

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the mean per row of weights (B, N), shape (B,); NaN if no case has the readings."""
        values = self._of_case(scored)
        if values is None or not np.isnan(values).any():
            return super().__call__(scored, weights)
        there = ~np.isnan(values)
        return weighted_mean(values[there], weights[:, there])


def moved(scored: ScoredCases, column: str) -> FloatArray:
    """Compute how far each answer is from that of the unchanged record, shape (N,)."""
    distance: FloatArray = np.abs(scored.columns[column] - scored.columns[AS_IS])
    return distance


class RereadNoise(RereadMetric):
    """Mean distance between two answers to the same record: what a change has to exceed to mean anything."""

    name: ClassVar[str] = "citation_reread_noise"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Noise of reading again",
        definition="the mean distance between two answers by expectation to the same record",
        better="neither",
        needs_reference_expert=True,
        columns=(AS_IS, AGAIN),
        table="alignment",
        curve=False,
        undefined=UNDEFINED,
    )

    def per_case(self, scored: ScoredCases) -> FloatArray:
        """Compute each case's distance, shape (N,)."""
        return moved(scored, AGAIN)


class Moved(RereadMetric):
    """Base: how far an answer moves in one reading."""

    reading: ClassVar[Reading]

    def per_case(self, scored: ScoredCases) -> FloatArray:
        """Compute each case's distance, shape (N,)."""
        return moved(scored, self.reading.column)


class Beyond(RereadMetric):
    """Base: how much more an answer rests on the cited features than on a control's.

    That is how much further it moves when they are changed, or how much less when all others are.
    """

    reading: ClassVar[Reading]
    control: ClassVar[Reading]

    def per_case(self, scored: ScoredCases) -> FloatArray:
        """Compute each case's difference, shape (N,)."""
        excess = moved(scored, self.reading.column) - moved(scored, self.control.column)
        # Rounding errors of a mean would else be an excess with an interval above 0.
        rounded: FloatArray = np.round(-excess if self.reading.all_but else excess, 12)
        return rounded


def _of(reading: Reading, label: str, definition: str) -> MetricTraits:
    """Return the traits of a metric of one reading."""
    return MetricTraits(
        label=label,
        definition=definition,
        better="lower" if reading.all_but else "higher",
        needs_reference_expert=True,
        columns=(AS_IS, reading.column),
        table="alignment",
        curve=False,
        undefined=UNDEFINED,
    )


def _beyond(reading: Reading, control: Reading, label: str) -> MetricTraits:
    """Return the traits of a metric beyond a control."""
    beside = {
        "control": "as many uncited features of like global importance",
        "baseline": "as many features of the frequency baseline that were measured",
    }[control.listed]
    return MetricTraits(
        label=label,
        definition=f"the same, less that of {beside}" if not reading.all_but else f"that of {beside}, less the same",
        better="higher",
        no_skill=0.0,
        needs_reference_expert=True,
        columns=(AS_IS, reading.column, control.column),
        table="alignment",
        curve=False,
        undefined=UNDEFINED,
    )


class CitationComprehensiveness(Moved):
    """Mean distance that an answer moves when the cited features have another patient's series.

    Higher is better: the answer rests on what it cites.
    """

    name: ClassVar[str] = "citation_comprehensiveness"
    reading: ClassVar[Reading] = Reading("swapped", "cited", False)
    traits: ClassVar[MetricTraits] = _of(
        reading,
        "Comprehensiveness",
        "how far an answer moves when the features that it cites have another patient's values",
    )


class CitationComprehensivenessOverControl(Beyond):
    """Comprehensiveness beyond that of as many measured, uncited features of like global importance."""

    name: ClassVar[str] = "citation_comprehensiveness_over_control"
    reading: ClassVar[Reading] = Reading("swapped", "cited", False)
    control: ClassVar[Reading] = Reading("swapped", "control", False)
    traits: ClassVar[MetricTraits] = _beyond(reading, control, "Comprehensiveness beyond control")


class CitationComprehensivenessOverBaseline(Beyond):
    """Comprehensiveness beyond that of the frequency baseline, cut to as many measured features as are cited."""

    name: ClassVar[str] = "citation_comprehensiveness_over_baseline"
    reading: ClassVar[Reading] = Reading("swapped", "cited", False)
    control: ClassVar[Reading] = Reading("swapped", "baseline", False)
    traits: ClassVar[MetricTraits] = _beyond(reading, control, "Comprehensiveness beyond baseline")


class CitationComprehensivenessRemoval(Moved):
    """Comprehensiveness with the cited series removed instead: a record as the method may never have met one."""

    name: ClassVar[str] = "citation_comprehensiveness_removal"
    reading: ClassVar[Reading] = Reading("removed", "cited", False)
    traits: ClassVar[MetricTraits] = _of(
        reading, "Comprehensiveness (removal)", "how far an answer moves when the features that it cites are removed"
    )


class CitationComprehensivenessRemovalOverControl(Beyond):
    """Comprehensiveness (removal) beyond that of as many measured, uncited features of like global importance."""

    name: ClassVar[str] = "citation_comprehensiveness_removal_over_control"
    reading: ClassVar[Reading] = Reading("removed", "cited", False)
    control: ClassVar[Reading] = Reading("removed", "control", False)
    traits: ClassVar[MetricTraits] = _beyond(reading, control, "Comprehensiveness (removal) beyond control")


class CitationSufficiency(Moved):
    """Mean distance that an answer moves when all features but the cited ones have another patient's series.

    Lower is better: what is cited suffices for the answer. A method that reads nothing scores 0, the best there is, so
    read it beside comprehensiveness.
    """

    name: ClassVar[str] = "citation_sufficiency"
    reading: ClassVar[Reading] = Reading("swapped", "cited", True)
    traits: ClassVar[MetricTraits] = _of(
        reading,
        "Sufficiency",
        "how far an answer moves when all measured features but those that it cites have another patient's values",
    )


class CitationSufficiencyOverControl(Beyond):
    """Sufficiency beyond that of as many measured, uncited features of like global importance."""

    name: ClassVar[str] = "citation_sufficiency_over_control"
    reading: ClassVar[Reading] = Reading("swapped", "cited", True)
    control: ClassVar[Reading] = Reading("swapped", "control", True)
    traits: ClassVar[MetricTraits] = _beyond(reading, control, "Sufficiency beyond control")


class CitationSufficiencyOverBaseline(Beyond):
    """Sufficiency beyond that of the frequency baseline, cut to as many measured features as are cited."""

    name: ClassVar[str] = "citation_sufficiency_over_baseline"
    reading: ClassVar[Reading] = Reading("swapped", "cited", True)
    control: ClassVar[Reading] = Reading("swapped", "baseline", True)
    traits: ClassVar[MetricTraits] = _beyond(reading, control, "Sufficiency beyond baseline")


class CitationSufficiencyRemoval(Moved):
    """Sufficiency with the other series removed instead: a record as the method may never have met one."""

    name: ClassVar[str] = "citation_sufficiency_removal"
    reading: ClassVar[Reading] = Reading("removed", "cited", True)
    traits: ClassVar[MetricTraits] = _of(
        reading,
        "Sufficiency (removal)",
        "how far an answer moves when all measured features but those that it cites are removed",
    )


class CitationSufficiencyRemovalOverControl(Beyond):
    """Sufficiency (removal) beyond that of as many measured, uncited features of like global importance."""

    name: ClassVar[str] = "citation_sufficiency_removal_over_control"
    reading: ClassVar[Reading] = Reading("removed", "cited", True)
    control: ClassVar[Reading] = Reading("removed", "control", True)
    traits: ClassVar[MetricTraits] = _beyond(reading, control, "Sufficiency (removal) beyond control")


REREAD_METRICS: tuple[type[RereadMetric], ...] = (
    RereadNoise,
    CitationComprehensiveness,
    CitationComprehensivenessOverControl,
    CitationComprehensivenessOverBaseline,
    CitationComprehensivenessRemoval,
    CitationComprehensivenessRemovalOverControl,
    CitationSufficiency,
    CitationSufficiencyOverControl,
    CitationSufficiencyOverBaseline,
    CitationSufficiencyRemoval,
    CitationSufficiencyRemovalOverControl,
)
