"""Metrics that average a costly number per case."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray
from eagbench.metrics.parameterless import ParameterlessMetric
from eagbench.stats.weighted import weighted_mean


class MeanOverCases(ParameterlessMetric):
    """A metric of citations or attention: the mean over cases of `per_case`.

    A metric is called for the point value and again for each block of resamples. The numbers per case stay the same, so
    they are computed once.
    """

    def __init__(self, params: ParameterlessMetric.Params) -> None:
        super().__init__(params)
        self._of_case = lru_cache(maxsize=1)(self.per_case)

    def per_case(self, scored: ScoredCases) -> FloatArray | None:
        """Compute the number of each case, shape (N,); None if the metric is undefined."""
        raise NotImplementedError

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the mean per row of weights (B, N), shape (B,); NaN if undefined."""
        values = self._of_case(scored)
        return np.full(len(weights), np.nan) if values is None else weighted_mean(values, weights)
