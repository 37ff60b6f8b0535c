"""Reorders features: with their names (what a reader of names sees), or without them (what the paper does).

Fang et al., EAG-RL (arXiv 2508.13579), section "robustness": 20, 40, 60 and 100 % of the features in another order.
Both happen in clinics: a laboratory sheet lists its tests in another order, or an interface's columns move while the
model still reads them by position. They are different questions, so they are two perturbations.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import Case, IntArray, PerturbationTraits
from eagbench_plugins.perturbations.record_change import RecordChange


def reordering(n_features: int, severity: float, seed: int) -> IntArray:
    """Draw a reordering: for each position, the index of the feature that ends up there.

    The first round(severity * F) features of one random list move in a cycle, each to the position of another one, so
    none of them keeps its position. One feature alone can't move, so a share that rounds to one moves two. A higher
    severity takes a longer part of the same list, so it moves every position that a lower one moves.

    Args:
        n_features: F.
        severity: Share of the features that move.
        seed: Seed of the case.

    Returns:
        A permutation of 0 ... F - 1, shape (F,).
    """
    return exchange(np.random.default_rng(seed).permutation(n_features), severity)


def exchange(drawn: IntArray, severity: float) -> IntArray:
    """Move the first round(severity * n) of a random list of 0 ... n - 1 in a cycle; see `reordering`."""
    n_moved = round(severity * len(drawn))
    if n_moved == 1:
        n_moved = min(2, len(drawn))
    order = np.arange(len(drawn))
    order[drawn[:n_moved]] = np.roll(drawn[:n_moved], 1)
    return order


class FeatureOrder(RecordChange):
    """A share of the features is listed in another order; names move with their values.

    Stands for a record system or a laboratory sheet that lists its measurements differently. It changes what a reader
    of text sees. It does not affect a model that finds its columns by name, and that is a result: such a model is
    immune to this change.
    """

    name = "feature_order"
    traits = PerturbationTraits(levels=(0.2, 0.4, 0.6, 0.8, 1.0), severity_unit="share of the features")

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Reorder `severity` of the case's features together with their values."""
        order = reordering(len(case.features), severity, seed)
        return case.with_columns(order)


class FeatureOrderPositional(RecordChange):
    """The same change of order, but the names stay in place: values appear under another feature's name.

    Stands for an interface whose columns moved without the model being told, and is what the EAG-RL paper does to its
    expert. It makes no sense for a reader of text, who sees names: the record would be full of wrong values.
    """

    name = "feature_order_positional"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0),
        severity_unit="share of the features",
        applies_to=frozenset({"columns"}),
        draws_like=FeatureOrder.name,
    )

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Exchange the columns of `severity` of the case's features under unchanged names."""
        return replace(case, values=case.values[:, reordering(len(case.features), severity, seed)])
