"""Metrics that are the mean over cases of a number per case which is not cheap to come by."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray
from eagbench.metrics.parameterless import ParameterlessMetric
from eagbench.stats.weighted import weighted_mean


class MeanOverCases(ParameterlessMetric):
    """A metric of citations or attention: `per_case` says what is averaged.

    A metric is called for the point value and again for each block of resamples; the numbers per case are the same, and
    are computed once.
    """

    def __init__(self, params: ParameterlessMetric.Params) -> None:
        super().__init__(params)
        self._of_case = lru_cache(maxsize=1)(self.per_case)

    def per_case(self, scored: ScoredCases) -> FloatArray | None:
        """The number of each case, shape (N,); None where the metric is undefined."""
        raise NotImplementedError

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Mean per row of weights (B, N), shape (B,); NaN where undefined."""
        values = self._of_case(scored)
        return np.full(len(weights), np.nan) if values is None else weighted_mean(values, weights)
