"""The share of answers that could not be read, and the shares of the known reasons."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from eagbench.contracts.answers import TOO_LONG, ScoredCases
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


class TooLong(ParameterlessMetric):
    """Share of cases without an answer because the prompt was longer than the policy reads."""

    name: ClassVar[str] = TOO_LONG
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Prompt too long", better="lower", is_share=True, curve=False, columns=(TOO_LONG,)
    )

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the share per row of weights (B, N), shape (B,)."""
        return weighted_mean(np.nan_to_num(scored.columns[TOO_LONG]), weights)
