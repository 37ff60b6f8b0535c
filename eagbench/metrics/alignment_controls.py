"""Measures whether citations agree with the expert beyond lists that know only what was measured in the patient.

A constant list and another patient's list name features that were not measured here, where the expert's list can't hold
them. So a policy that cites the same for everybody, as far as it was measured, would exceed both. These metrics cut
such a list to what was measured, and refill it (`eagbench.stats.list_controls`).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.citation_controls import CONTROL_COLUMNS, REFILLED_BASELINE, REFILLED_OTHERS, SIMILAR_RISK
from eagbench.contracts.records import FloatArray
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.attention import UNDEFINED, overlaps
from eagbench.metrics.mean_over_cases import MeanOverCases
from eagbench.metrics.parameterless import ParameterlessMetric


def _beyond(label: str, definition: str, *columns: str) -> MetricTraits:
    """Return the traits of a metric of the excess over the lists whose overlap stands in `columns`."""
    return MetricTraits(
        label=label,
        definition=f"the overlap, less that of {definition}",
        better="higher",
        no_skill=0.0,
        needs_reference_expert=True,
        columns=columns,
        table="alignment",
        curve=False,
        undefined=UNDEFINED,
    )


def _excess(scored: ScoredCases, column: str) -> FloatArray | None:
    """Compute each case's overlap with the expert's list less that of a control, shape (N,)."""
    if scored.cited is None or scored.reference is None:
        return None
    excess: FloatArray = np.round(overlaps(scored.cited, scored.reference) - scored.columns[column], 12)
    return excess


class AlignmentOverRefilledConstant(MeanOverCases):
    """Overlap of the cited features with the expert's beyond the frequency baseline, cut and refilled."""

    name: ClassVar[str] = "alignment_over_refilled_constant"
    traits: ClassVar[MetricTraits] = _beyond(
        "Beyond a refilled constant list",
        "the features most often on top in training among those measured in the patient",
        REFILLED_BASELINE,
    )

    def per_case(self, scored: ScoredCases) -> FloatArray | None:
        """Compute each case's excess, shape (N,)."""
        return _excess(scored, REFILLED_BASELINE)


class AlignmentOverRefilledOtherPatient(MeanOverCases):
    """Overlap beyond that of what the method cites for other patients, cut to what was measured here and refilled."""

    name: ClassVar[str] = "alignment_over_refilled_other_patient"
    traits: ClassVar[MetricTraits] = _beyond(
        "Beyond refilled other patients",
        "what the method cites for other patients, cut to what was measured in this one and refilled",
        REFILLED_OTHERS,
    )

    def per_case(self, scored: ScoredCases) -> FloatArray | None:
        """Compute each case's excess, shape (N,)."""
        return _excess(scored, REFILLED_OTHERS)


class AlignmentOverSimilarRisk(MeanOverCases):
    """Overlap beyond that of what the method cites for patients to whom it gives nearly the same risk, refilled."""

    name: ClassVar[str] = "alignment_over_similar_risk"
    traits: ClassVar[MetricTraits] = _beyond(
        "Beyond patients of like risk",
        "what the method cites for the ten other patients of the nearest risk, cut and refilled",
        SIMILAR_RISK,
    )

    def per_case(self, scored: ScoredCases) -> FloatArray | None:
        """Compute each case's excess, shape (N,)."""
        return _excess(scored, SIMILAR_RISK)


class AlignmentOverBestControl(ParameterlessMetric):
    """The least of the three excesses: over the control that does best on these cases, chosen anew in each resample."""

    name: ClassVar[str] = "alignment_over_best_control"
    traits: ClassVar[MetricTraits] = _beyond(
        "Beyond the best control", "the best of the three refilled lists", *CONTROL_COLUMNS
    )

    def __init__(self, params: ParameterlessMetric.Params) -> None:
        super().__init__(params)
        each = (AlignmentOverRefilledConstant, AlignmentOverRefilledOtherPatient, AlignmentOverSimilarRisk)
        self._beyond_each = [metric(params) for metric in each]

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the excess per row of weights (B, N), shape (B,); NaN if undefined."""
        least: FloatArray = np.stack([metric(scored, weights) for metric in self._beyond_each]).min(axis=0)
        return least


CONTROL_METRICS = (
    AlignmentOverRefilledConstant,
    AlignmentOverRefilledOtherPatient,
    AlignmentOverSimilarRisk,
    AlignmentOverBestControl,
)
