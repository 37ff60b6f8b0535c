"""The share of answers that could not be read."""

from __future__ import annotations

from typing import ClassVar

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.parameterless import ParameterlessMetric
from eagbench.stats.weighted import weighted_mean

# The share of unparsed answers from which a report warns before everything else.
MANY_UNPARSED = 0.2


class UnparsedRate(ParameterlessMetric):
    """Share of cases whose answer could not be read."""

    name: ClassVar[str] = "unparsed_rate"
    traits: ClassVar[MetricTraits] = MetricTraits(label="Unparsed", better="lower", is_share=True, curve=False)

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the share of unparsed answers per row of weights (B, N), shape (B,)."""
        return weighted_mean(1.0 - scored.parsed, weights)
