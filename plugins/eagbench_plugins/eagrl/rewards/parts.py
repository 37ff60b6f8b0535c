"""Building blocks of the rewards: likelihood, margin, overlap with the expert."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import log

from eagbench.api import Case

# A log-likelihood is unbounded: a written 0 or 1 is taken for 0.01 or 0.99.
LOWEST, HIGHEST = 0.01, 0.99

# What an answer that can't be read loses beside the worst values of all parts.
UNPARSED = -1.0


def log_likelihood(label: int, probability: float) -> float:
    """Compute log(y p + (1 - y)(1 - p)) with p clipped to [0.01, 0.99]; it ranges from -4.61 to -0.01."""
    clipped = min(max(probability, LOWEST), HIGHEST)
    return log(clipped if label else 1 - clipped)


def margin(label: int, probability: float) -> float:
    """Compute the answer's distance from 0.5 on the correct side, else 0.

    p is clipped to [0.01, 0.99], so the margin ranges from 0 to 0.49.
    """
    clipped = min(max(probability, LOWEST), HIGHEST)
    return max(0.0, clipped - 0.5 if label else 0.5 - clipped)


def classification_parts(label: int, probability: float | None, beta: float) -> tuple[float, float]:
    """Compute R_cls = log-likelihood + beta x margin, and the part `unparsed`.

    Args:
        label: The case's label.
        probability: The answer; None if unparsed, which gets the worst R_cls and loses another 1.
        beta: Weight of the margin.
    """
    if probability is None:
        return log_likelihood(1, LOWEST), UNPARSED
    return log_likelihood(label, probability) + beta * margin(label, probability), 0.0


def expert_features(case: Case, salience: Mapping[str, float], k: int) -> tuple[str, ...]:
    """Select the `k` observed features of the case with the highest weight, or fewer if fewer are observed.

    Args:
        case: The case.
        salience: Weight of each feature that the expert reads, in canonical order; ties are broken in this order. The
            case may have other features as well, because an expert trained for several domains reads only the shared
            ones.
        k: Maximum number of features.
    """
    place = {name: i for i, name in enumerate(salience)}
    known = (name for name in case.observed() if name in place)
    return tuple(sorted(known, key=lambda name: (-salience[name], place[name]))[:k])


def jaccard(first: Collection[str], second: Collection[str]) -> float:
    """Compute the size of the intersection divided by the size of the union; 0 if both are empty."""
    a, b = set(first), set(second)
    return len(a & b) / len(a | b) if a | b else 0.0
