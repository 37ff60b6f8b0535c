"""Measures whether a policy cites the features that the reference expert attends to, and does so beyond chance.

An overlap alone means nothing: a long list scores, and so does a list that is the same for every patient. So further
metrics accompany `citation_jaccard`: the number cited, and the excess over two lists that ignore the case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray, IntArray
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.mean_over_cases import MeanOverCases
from eagbench.stats.weighted import CHUNK_ELEMENTS, ratio

UNDEFINED = "the method cites no features, or the benchmark has no reference expert"


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Compute the Jaccard index, intersection size over union size; 0 if both are empty."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0


class CitationJaccard(MeanOverCases):
    """Mean over cases of the Jaccard overlap between cited features and the expert's top features.

    Source: R_att of EAG-RL (Fang et al., AAAI 2026). NaN for a method that cites nothing by construction, and in a
    benchmark without a reference expert. A case whose answer could not be read cites nothing and scores 0.
    """

    name: ClassVar[str] = "citation_jaccard"
    traits: ClassVar[MetricTraits] = MetricTraits(
        former_names=("attention_jaccard",),
        label="Citation overlap",
        definition="mean Jaccard index of the cited features and the expert's top observed ones",
        better="higher",
        needs_reference_expert=True,
        curve=False,
        undefined=UNDEFINED,
    )

    def per_case(self, scored: ScoredCases) -> FloatArray | None:
        """Compute each case's overlap, shape (N,)."""
        if scored.cited is None or scored.reference is None:
            return None
        return overlaps(scored.cited, scored.reference)


class CitedFeatures(MeanOverCases):
    """Mean number of features that an answer cites; 0 for an answer that could not be read."""

    name: ClassVar[str] = "cited_features"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Features cited", better="neither", table="alignment", curve=False, undefined=UNDEFINED
    )

    def per_case(self, scored: ScoredCases) -> FloatArray | None:
        """Count the features that each case's answer cites, shape (N,)."""
        if scored.cited is None:
            return None
        return np.array([len(cited) for cited in scored.cited], dtype=np.float64)


class AlignmentOverConstant(MeanOverCases):
    """Mean over cases of the overlap of the cited features with the expert's, less that of the constant list.

    The constant list holds the features that are most often on top in training (`stages.salience.constant_list`). It is
    as long as the expert's list, and the same for every case. NaN as for `citation_jaccard`.
    """

    name: ClassVar[str] = "alignment_over_constant"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Beyond a constant list",
        definition="the overlap, less that of the features most often on top in training, the same for everybody",
        better="higher",
        no_skill=0.0,
        needs_reference_expert=True,
        table="alignment",
        curve=False,
        undefined=UNDEFINED,
    )

    def per_case(self, scored: ScoredCases) -> FloatArray | None:
        """Compute each case's excess overlap, shape (N,)."""
        if scored.cited is None or scored.reference is None or scored.baseline is None:
            return None
        return overlaps(scored.cited, scored.reference) - overlaps(scored.baseline, scored.reference)


class AlignmentOverOtherPatient(MeanOverCases):
    """Mean over cases of the overlap of the cited features with the expert's, less that of other patients' citations.

    For case i: J(cited_i, expert_i) - mean over all cases j of other patients of J(cited_j, expert_i). It is 0 for a
    method that cites the same list for every patient. The mean is over all others, without sampling. When patients are
    resampled, the second term keeps its value from the full sample. NaN as for `citation_jaccard`, and with only one
    patient.
    """

    name: ClassVar[str] = "alignment_over_other_patient"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Beyond other patients",
        definition="the overlap, less that of what the method cites for other patients",
        better="higher",
        no_skill=0.0,
        needs_reference_expert=True,
        table="alignment",
        curve=False,
        undefined=UNDEFINED,
    )

    def per_case(self, scored: ScoredCases) -> FloatArray | None:
        """Compute each case's excess overlap, shape (N,)."""
        if scored.cited is None or scored.reference is None:
            return None
        excess = overlaps(scored.cited, scored.reference) - overlap_of_others(scored.cited, scored.reference, scored)
        # Rounding errors of the means would else be an excess with an interval above 0.
        rounded: FloatArray = np.round(excess, 12)
        return rounded


def overlaps(first: Sequence[frozenset[str]], second: Sequence[frozenset[str]]) -> FloatArray:
    """Compute the Jaccard overlap per case, shape (N,)."""
    return np.array([jaccard(a, b) for a, b in zip(first, second, strict=True)], dtype=np.float64)


def overlap_of_others(
    cited: Sequence[frozenset[str]], teacher: Sequence[frozenset[str]], scored: ScoredCases
) -> FloatArray:
    """Average, per case, the overlap of its expert's list with the citations of other patients' cases, shape (N,)."""
    names = sorted(frozenset().union(*cited, *teacher))
    lists = np.array([[name in listed for name in names] for listed in cited], dtype=np.float64)  # (N, F)
    tops = np.array([[name in listed for name in names] for listed in teacher], dtype=np.float64)  # (N, F)
    patient = patient_codes(scored)
    means = np.empty(len(tops))
    step = max(1, CHUNK_ELEMENTS // max(1, len(tops)))
    for start in range(0, len(tops), step):
        rows = slice(start, start + step)
        shared = tops[rows] @ lists.T  # (b, N)
        union = tops[rows].sum(axis=1)[:, None] + lists.sum(axis=1) - shared
        overlap = np.where(union > 0, shared / np.maximum(union, 1), 0.0)
        is_other = patient[rows, None] != patient
        means[rows] = ratio((overlap * is_other).sum(axis=1), is_other.sum(axis=1))
    return means


def patient_codes(scored: ScoredCases) -> IntArray:
    """Return a number per case that cases of one patient share, shape (N,)."""
    if scored.patient is None:
        return np.arange(len(scored.label))
    codes: IntArray = np.unique(np.asarray(scored.patient, dtype=str), return_inverse=True)[1]
    return codes
