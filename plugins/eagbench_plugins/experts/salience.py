"""Convert raw weights to salience: non-negative, in the cohort's order of features, summing to 1 per case."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eagbench.api import Cases, FloatArray


def as_salience(weights: FloatArray, features: Sequence[str], cases: Cases) -> FloatArray:
    """Normalise an expert's weights.

    A feature that the expert does not know gets 0. If no feature of a case has any weight, the expert's features
    observed in the case get equal weights; if none of them is observed, all of the expert's features do. If the cases
    have none of the expert's features, their own features are used in the same way.

    Args:
        weights: Non-negative weight per case and feature of the expert, shape (N, M).
        features: The expert's features, M names.
        cases: The N cases.

    Returns:
        Shape (N, F) in `cases.features` order, float64, each row summing to 1.
    """
    position = {name: i for i, name in enumerate(cases.feature_names)}
    salience = np.zeros((len(cases), len(position)))  # (N, F)
    for j, name in enumerate(features):
        if name in position:
            salience[:, position[name]] = weights[:, j]
    own = [position[name] for name in features if name in position] or list(position.values())
    for n in np.flatnonzero(salience.sum(axis=1) <= 0.0):
        observed = {position[name] for name in cases[int(n)].observed() if name in position}
        salience[n, [column for column in own if column in observed] or own] = 1.0
    return np.asarray(salience / salience.sum(axis=1, keepdims=True))
