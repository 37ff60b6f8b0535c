"""Citations and attention under perturbations: do they stay the same, and do aligned answers change less?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eagbench.analysis.cells import CLEAN_KEY, ConditionKey
from eagbench.analysis.scored_table import Answered
from eagbench.analysis.summaries import (
    ALIGNMENT_AND_CHANGE,
    ALL_METHODS,
    ATTENTION_LIKENESS,
    ATTENTION_LIKENESS_OVER_OTHERS,
    CITATION_OVERLAP,
    CITATION_OVERLAP_OVER_OTHERS,
    TEACHER_OVERLAP,
    Job,
    Means,
    per_case,
)
from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray
from eagbench.metrics.attention import overlap_of_others, overlaps, patient_codes
from eagbench.metrics.attention_mass import excess_over_others, likeness


def under_stress(methods: Sequence[str], perturbed: Sequence[ConditionKey], means: Means) -> list[Job]:
    """Measure whether citations and attention stay the same, and whether aligned answers change less."""
    jobs = []
    for condition in perturbed:
        teacher_done = False
        for method in methods:
            clean, changed = means.get((method, CLEAN_KEY)), means.get((method, condition))
            if clean is None or changed is None:
                continue
            pairs = list(zip(clean.answers, changed.answers, strict=True))
            teachers = [_overlap(a.scored.reference, b.scored.reference) for a, b in pairs]
            if pairs and not teacher_done and all(column is not None for column in teachers):
                jobs.append(per_case(TEACHER_OVERLAP, _known(teachers), condition, ALL_METHODS))
                teacher_done = True
            columns: dict[str, list[FloatArray | None]] = {
                CITATION_OVERLAP: [_overlap(a.scored.cited, b.scored.cited) for a, b in pairs],
                CITATION_OVERLAP_OVER_OTHERS: [_overlap_over_others(a.scored, b.scored) for a, b in pairs],
                ATTENTION_LIKENESS: [_attention_likeness(a.scored, b.scored) for a, b in pairs],
                ATTENTION_LIKENESS_OVER_OTHERS: [_attention_over_others(a.scored, b.scored) for a, b in pairs],
                ALIGNMENT_AND_CHANGE: [_alignment_and_change(a, b) for a, b in pairs],
            }
            for summary, values in columns.items():
                if pairs and all(value is not None for value in values):
                    jobs.append(per_case(summary, _known(values), condition, method))
    return jobs


def _known(columns: Sequence[FloatArray | None]) -> list[FloatArray]:
    return [column for column in columns if column is not None]


Lists = tuple[frozenset[str], ...] | None


def _overlap(first: Lists, second: Lists) -> FloatArray | None:
    """Compute the Jaccard overlap per case; return None if one side has no lists."""
    if first is None or second is None:
        return None
    return overlaps(first, second)


def _overlap_over_others(clean: ScoredCases, changed: ScoredCases) -> FloatArray | None:
    """Compute how much more the perturbed citations overlap with the case's own clean ones than other patients' do.

    From the overlap with the case's own clean citations, it subtracts the mean overlap of other patients' perturbed
    citations with these clean ones.
    """
    own = _overlap(clean.cited, changed.cited)
    if own is None or clean.cited is None or changed.cited is None:
        return None
    rounded: FloatArray = np.round(own - overlap_of_others(changed.cited, clean.cited, clean), 12)
    return rounded


def _attention_likeness(clean: ScoredCases, changed: ScoredCases) -> FloatArray | None:
    """Compute 1 - Jensen-Shannon distance of the two attentions over all features; 0 for a case that lacks one."""
    sides = _attentions(clean, changed)
    return None if sides is None else likeness(*sides)


def _attention_over_others(clean: ScoredCases, changed: ScoredCases) -> FloatArray | None:
    """Compute the likeness to the case's own clean attention, minus that of other patients' perturbed attention."""
    sides = _attentions(clean, changed)
    if sides is None:
        return None
    before, after = sides
    shown, measured = (after > 0).astype(np.float64), after.sum(axis=1) > 0
    excess = excess_over_others(after, before, shown, measured, patient_codes(clean))
    return None if np.isnan(excess).any() else excess


def _attentions(clean: ScoredCases, changed: ScoredCases) -> tuple[FloatArray, FloatArray] | None:
    """Return both attentions over all features that have any, each (N, F); None if one side has none."""
    if clean.attention is None or changed.attention is None:
        return None
    sides = [[weights or {} for weights in scored.attention or ()] for scored in (clean, changed)]
    names = sorted({name for side in sides for weights in side for name in weights})
    first, second = (np.array([[weights.get(n, 0.0) for n in names] for weights in side]) for side in sides)
    return first, second


def _alignment_and_change(clean: Answered, changed: Answered) -> FloatArray | None:
    """Compute per case the clean overlap with the expert's list, and how far the answer moved; shape (2, N)."""
    alignment = _overlap(clean.scored.cited, clean.scored.reference)
    if alignment is None:
        return None
    return np.stack([alignment, np.abs(changed.scored.probability - clean.scored.probability)])
