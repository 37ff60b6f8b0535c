"""Whether a policy cites the features that the reference expert attends to."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from eagbench.metrics.weighted import weighted_mean
from eagbench.protocols import StrictParams
from eagbench.types import FloatArray, ScoredCases


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Size of the intersection over size of the union; 0 if both are empty."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0


class AttentionJaccard:
    """Mean over cases of the Jaccard overlap between cited features and the expert's top features.

    Source: R_att of EAG-RL (Fang et al., AAAI 2026). NaN for a method that cites nothing by construction and in a
    benchmark without a reference expert. A case whose answer could not be read cites nothing and scores 0.
    """

    name: ClassVar[str] = "attention_jaccard"
    better: ClassVar[Literal["higher", "lower", "neither"]] = "higher"
    reads_probability: ClassVar[bool] = False

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Mean overlap per row of weights (B, N), shape (B,)."""
        if scored.cited is None or scored.teacher is None:
            return np.full(len(weights), np.nan)
        pairs = zip(scored.cited, scored.teacher, strict=True)
        overlap = np.fromiter((jaccard(cited, teacher) for cited, teacher in pairs), np.float64)
        return weighted_mean(overlap, weights)
