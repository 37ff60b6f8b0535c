"""Answers that could not be read: how many, and what the other metrics would be without filling them in.

An unparsed answer is scored with the training prevalence, which would let a policy that never answers look well
calibrated. Beside every metric of the probabilities stand two more figures: over the parsed cases only, and with each
unparsed answer counted as confidently wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray, IntArray
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.parameterless import ParameterlessMetric
from eagbench.stats.weighted import weighted_mean


class UnparsedRate(ParameterlessMetric):
    """Share of cases whose answer could not be read."""

    name: ClassVar[str] = "unparsed_rate"
    traits: ClassVar[MetricTraits] = MetricTraits(label="Unparsed", better="lower", is_share=True, curve=False)

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Share of unparsed answers per row of weights (B, N), shape (B,)."""
        return weighted_mean(1.0 - scored.parsed, weights)


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """The scored cases under another treatment of unparsed answers.

    Attributes:
        scored: M cases.
        columns: Which columns of the original weights belong to them: `weights[:, columns]` has shape (B, M).
    """

    scored: ScoredCases
    columns: IntArray | slice


def unparsed_variants(scored: ScoredCases) -> Mapping[str, Variant]:
    """The two other treatments of unparsed answers, by the suffix of the metric's name (`auroc:parsed_only`).

    Args:
        scored: N cases, at least one of them unparsed, else there is nothing to vary.

    Returns:
        `parsed_only`: the parsed cases. `worst_case`: all cases, an unparsed one with the probability 1 - label.
        Empty if every answer was parsed.
    """
    if scored.parsed.all():
        return {}
    kept = np.flatnonzero(scored.parsed)
    parsed_only = scored.select(kept)
    worst_case = replace(scored, probability=np.where(scored.parsed, scored.probability, 1.0 - scored.label))
    return {"parsed_only": Variant(parsed_only, kept), "worst_case": Variant(worst_case, slice(None))}
