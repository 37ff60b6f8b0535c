"""The core's metrics by scikit-learn, SciPy and NumPy alone: a second opinion on every point value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from eagbench.analysis.metric_uses import MetricUse
from eagbench.contracts.records import FloatArray
from eagbench.metrics.number_names import UNCORRECTED, metric_and_calibration


def reference_value(metric: str, records: Sequence[Mapping[str, Any]], metrics: Sequence[MetricUse]) -> float | None:
    """Compute a metric with scikit-learn and NumPy; return None for a metric that only its own plugin knows."""
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

    variant, calibration = metric_and_calibration(metric)
    plain, _, suffix = variant.partition(":")
    chosen = [r for r in records if r["parsed"]] if suffix == "parsed_only" else list(records)
    label = np.array([r["label"] for r in chosen], dtype=int)
    scored = "probability" if calibration == UNCORRECTED else calibration
    probability = np.array([r[scored] for r in chosen], dtype=float)
    parsed = np.array([r["parsed"] for r in chosen], dtype=bool)
    if suffix == "worst_case":
        probability = np.where(parsed, probability, 1 - label)
    params: Mapping[str, Any] = next((use.params for use in metrics if use.name == plain), {})
    one_class = len(set(label.tolist())) < 2
    functions: dict[str, Callable[[], float]] = {
        "auroc": lambda: float("nan") if one_class else float(roc_auc_score(label, probability)),
        "auprc": lambda: float("nan") if label.sum() == 0 else float(average_precision_score(label, probability)),
        "brier": lambda: float("nan") if not len(label) else float(brier_score_loss(label, probability)),
        "ece": lambda: _ece(label, probability, int(params["bins"])),
        "brier_skill": lambda: _brier_skill(label, probability),
        "brier_reliability": lambda: _brier_parts(label, probability, int(params["bins"]))[0],
        "brier_resolution": lambda: _brier_parts(label, probability, int(params["bins"]))[1],
        "brier_uncertainty": lambda: float(label.mean() * (1 - label.mean())) if len(label) else float("nan"),
        "unparsed_rate": lambda: float(np.mean(~parsed)),
        "citation_jaccard": lambda: _jaccard(chosen, "cited_features"),
        "cited_features": lambda: _cited(chosen),
        "alignment_over_constant": lambda: _jaccard(chosen, "cited_features") - _jaccard(chosen, "constant_features"),
        "attention_mass": lambda: _attention_mass(chosen),
    }
    return functions[plain]() if plain in functions else None


def _ece(label: Any, probability: FloatArray, bins: int) -> float:
    if not len(label):
        return float("nan")
    bin_of = np.digitize(probability, np.arange(1, bins) / bins)
    of_bins = (bin_of == b for b in np.unique(bin_of))
    return float(sum(mine.mean() * abs(probability[mine].mean() - label[mine].mean()) for mine in of_bins))


def _brier_skill(label: Any, probability: FloatArray) -> float:
    from sklearn.metrics import brier_score_loss

    if len(set(label.tolist())) < 2:
        return float("nan")
    always_the_rate = brier_score_loss(label, [label.mean()] * len(label))
    return float(1 - brier_score_loss(label, probability) / always_the_rate)


def _brier_parts(label: Any, probability: FloatArray, bins: int) -> tuple[float, float]:
    """Return reliability and resolution over bins."""
    if not len(label):
        return float("nan"), float("nan")
    bin_of = np.digitize(probability, np.arange(1, bins) / bins)
    reliability = resolution = 0.0
    for mine in (bin_of == b for b in np.unique(bin_of)):
        rate = label[mine].mean()
        reliability += mine.mean() * (probability[mine].mean() - rate) ** 2
        resolution += mine.mean() * (rate - label.mean()) ** 2
    return float(reliability), float(resolution)


def _cited(records: Sequence[Mapping[str, Any]]) -> float:
    if all(r["cited_features"] is None for r in records):
        return float("nan")
    return float(np.mean([len(set(r["cited_features"] or ())) for r in records]))


def _attention_mass(records: Sequence[Mapping[str, Any]]) -> float:
    from scipy.spatial.distance import jensenshannon

    if all(r["attention"] is None for r in records) or all(r["teacher_salience"] is None for r in records):
        return float("nan")
    values = []
    for r in records:
        attention, salience = dict(r["attention"] or ()), dict(r["teacher_salience"])
        looked = [attention.get(name, 0.0) for name in salience]
        likeness = 1 - jensenshannon(looked, list(salience.values()), base=2) if sum(looked) > 0 else 0.0
        values.append(likeness if sum(salience.values()) > 0 else 0.0)
    return float(np.mean(values))


def _jaccard(records: Sequence[Mapping[str, Any]], lists: str) -> float:
    if all(r[lists] is None for r in records) or all(r["teacher_features"] is None for r in records):
        return float("nan")
    values = []
    for r in records:
        cited, teacher = set(r[lists] or ()), set(r["teacher_features"] or ())
        values.append(len(cited & teacher) / len(cited | teacher) if cited | teacher else 0.0)
    return float(np.mean(values))
