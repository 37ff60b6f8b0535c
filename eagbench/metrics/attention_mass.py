"""Measures whether a policy attends to the features that the reference expert attends to, whatever it cites.

The similarity of two distributions over features is 1 minus their Jensen-Shannon distance with logarithms to base 2,
from 0 (no feature in common) to 1 (equal). The distance is the square root of the divergence (Lin, IEEE Transactions on
Information Theory 1991); the root is a metric (Endres and Schindelin, 2003). Both distributions are restricted to the
features observed in the case and normalised again, because attention to a feature without a value has no counterpart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import BoolArray, FloatArray, IntArray
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.attention import patient_codes
from eagbench.metrics.mean_over_cases import MeanOverCases

UNDEFINED = "the attention was not measured (no text read, no answer readable), or there is no reference expert"


class AttentionMass(MeanOverCases):
    """Mean over cases of the similarity of the policy's attention to the reference expert's salience.

    NaN for a method whose attention was not measured (for example an expert), and without a reference expert. A case
    without an answer has no attention and scores 0.
    """

    name: ClassVar[str] = "attention_mass"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Attention likeness",
        definition="1 minus the Jensen-Shannon distance of the policy's attention from the expert's weights",
        better="higher",
        needs_reference_expert=True,
        needs_attention=True,
        table="alignment",
        curve=False,
        undefined=UNDEFINED,
    )

    def per_case(self, scored: ScoredCases) -> FloatArray | None:
        """Compute each case's similarity, shape (N,)."""
        if scored.attention is None or scored.salience is None:
            return None
        weighed = _Weighed.of(scored)
        return likeness(weighed.policy * weighed.observed, weighed.expert)


class AttentionMassOverOtherPatient(MeanOverCases):
    """Mean over cases of the same similarity, less that of the attention on other patients' records.

    For case i, the mean over all cases j of other patients of L(attention_i, salience_i) - L(attention_j, salience_i).
    L is the similarity (`likeness`), restricted to the features observed in both i and j. Without this restriction, a
    policy that attends to every feature alike would earn an excess, because it sees in the text which are observed.
    The metric is 0 for a policy whose attention does not differ between patients. Cases without an answer have no
    attention: no case is compared with them, and their own excess is 0. The mean is over all others, without sampling.
    When patients are resampled, the comparison keeps its value from the full sample. NaN as for `attention_mass`, and
    with only one patient.
    """

    name: ClassVar[str] = "attention_mass_over_other_patient"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Attention beyond other patients",
        definition="the likeness, less that of the attention on other patients' records",
        better="higher",
        no_skill=0.0,
        needs_reference_expert=True,
        needs_attention=True,
        table="alignment",
        curve=False,
        undefined=UNDEFINED,
    )

    def per_case(self, scored: ScoredCases) -> FloatArray | None:
        """Compute each case's excess similarity, shape (N,)."""
        if scored.attention is None or scored.salience is None:
            return None
        weighed = _Weighed.of(scored)
        measured = np.array([weights is not None for weights in scored.attention])
        return excess_over_others(weighed.policy, weighed.expert, weighed.observed, measured, patient_codes(scored))


@dataclass(frozen=True, slots=True, eq=False)
class _Weighed:
    """Attention and salience as arrays over all features that occur.

    Attributes:
        policy: Attention, 0 for features without any. Shape (N, F).
        expert: Salience of the observed features. Shape (N, F).
        observed: Which features are observed. Shape (N, F), 0 or 1.
    """

    policy: FloatArray
    expert: FloatArray
    observed: FloatArray

    @classmethod
    def of(cls, scored: ScoredCases) -> _Weighed:
        attention = [weights or {} for weights in scored.attention or ()]
        salience = scored.salience or ()
        names = sorted({name for weights in (*attention, *salience) for name in weights})
        shape = (len(salience), len(names))  # also without a case or a feature
        return cls(
            policy=np.array([[weights.get(name, 0.0) for name in names] for weights in attention]).reshape(shape),
            expert=np.array([[weights.get(name, 0.0) for name in names] for weights in salience]).reshape(shape),
            observed=np.array([[float(name in weights) for name in names] for weights in salience]).reshape(shape),
        )


def likeness(first: FloatArray, second: FloatArray) -> FloatArray:
    """Compute 1 minus the Jensen-Shannon distance (base 2) of distributions along the last axis.

    Args:
        first: Non-negative weights, (..., F), normalised here.
        second: Likewise, with a shape that broadcasts with `first`.

    Returns:
        Shape (...), in [0, 1]; 0 if either has no weight at all.
    """
    p, q = (weights / np.maximum(weights.sum(axis=-1, keepdims=True), _TINY) for weights in (first, second))
    middle = (p + q) / 2
    divergence = (_information(p) + _information(q)) / 2 - _information(middle)
    distance = np.sqrt(np.clip(divergence, 0.0, 1.0))
    has_both = (first.sum(axis=-1) > 0) & (second.sum(axis=-1) > 0)
    return np.where(has_both, 1 - distance, 0.0)


_TINY = np.finfo(np.float64).tiny


def _information(p: FloatArray) -> FloatArray:
    """Sum p log2 p along the last axis, with 0 log 0 = 0."""
    information: FloatArray = np.einsum("...f,...f->...", p, np.log2(np.maximum(p, _TINY)))
    return information


def excess_over_others(
    own: FloatArray, target: FloatArray, shown: FloatArray, measured: BoolArray, patient: IntArray
) -> FloatArray:
    """Compute how similar each case's weights are to its target, less the same for other patients' weights.

    Both similarities are restricted to the features that are shown in both cases: a policy earns nothing for features
    merely being shown.

    Args:
        own: Weights of each case, shape (N, F).
        target: The weights to compare with, shape (N, F).
        shown: Which features a case's weights can cover, 0 or 1, shape (N, F).
        measured: Which cases have weights, shape (N,); the others are not compared with any case.
        patient: A number per case that cases of one patient share, shape (N,).

    Returns:
        For case i the mean over all cases j of other patients of L(own_i, target_i) - L(own_j, target_i), with L the
        similarity (`likeness`). Shape (N,); 0 for a case that was not measured, NaN with only one patient.
    """
    if len(np.unique(patient)) < 2:
        return np.full(len(patient), np.nan)
    weights, targets = (np.stack([w, _w_log_w(w)]) for w in (own * shown, target))
    excess = np.zeros(len(patient))
    for i in np.flatnonzero(measured):
        others = measured & (patient != patient[i])
        if not others.any():
            continue
        seen = shown[i] > 0
        in_both = shown[np.ix_(others, seen)]  # (M, features of i)
        theirs = weights[:, others][:, :, seen]  # (2, M, features of i)
        mine, wanted = (in_both * part[:, i][:, None, seen] for part in (weights, targets))
        excess[i] = np.mean(_pair_likeness(mine, wanted) - _pair_likeness(theirs, wanted))
    # What lies below the precision of a likeness would else be an excess with an interval above 0.
    return np.round(excess, 7)


def _w_log_w(weights: FloatArray) -> FloatArray:
    result: FloatArray = weights * np.log2(np.maximum(weights, _TINY))
    return result


def _pair_likeness(first: FloatArray, second: FloatArray) -> FloatArray:
    """Compute `likeness` of weights w stacked with their w log2 w, shape (2, M, F), to about eight digits; shape (M,).

    The information of w / s is sum(w log2 w) / s - log2 s, so only the midpoint needs logarithms for each pair.
    """
    totals = [np.maximum(weights[0].sum(axis=-1), _TINY) for weights in (first, second)]
    middle = sum(weights[0] / (2 * total[:, None]) for weights, total in zip((first, second), totals, strict=True))
    informations = [
        weights[1].sum(axis=-1) / total - np.log2(total) for weights, total in zip((first, second), totals, strict=True)
    ]
    distance = np.sqrt(np.clip(sum(informations) / 2 - _information(np.asarray(middle)), 0.0, 1.0))
    has_both = (first[0].sum(axis=-1) > 0) & (second[0].sum(axis=-1) > 0)
    return np.where(has_both, 1 - distance, 0.0)
