"""Hide, in some training cases, what every training case has, so that a model learns what its absence means.

A variable that is never missing in training may be missing at prediction: another ward does not measure it, a device
fails, an age is unknown. A model that learns only from complete records has no rule for it, and each library makes one
up (docs/experts.md). The model that meets the absence in training, in cases drawn at random, learns to judge by the
rest of the record.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from eagbench.contracts.records import BoolArray, Case, Cases

# A variable counts as complete if at least this share of the training cases has it: the absence in fewer than one of
# 200 cases is no rule that a model could learn.
COMPLETE = 0.995


def complete_features(cases: Cases) -> tuple[str, ...]:
    """Name the features that at least 99.5 % of the cases have a value of, in canonical order."""
    return _complete(cases)[0]


def complete_facts(cases: Cases) -> tuple[str, ...]:
    """Name the static facts that are known for at least 99.5 % of the cases, in canonical order."""
    return _complete(cases)[1]


def _complete(cases: Cases) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Name the features and the static facts that nearly all cases have, in one pass through the cases."""
    names, facts = cases.feature_names, cases.static_names
    measured = np.zeros((len(cases), len(names)), dtype=np.bool_)  # (N, F)
    known = np.zeros((len(cases), len(facts)), dtype=np.bool_)  # (N, S)
    for n, case in enumerate(cases):
        measured[n] = (~np.isnan(case.values_in_order(names))).any(axis=0)
        known[n] = ~np.isnan([case.static.get(name, np.nan) for name in facts])
    return _in_nearly_all(names, measured), _in_nearly_all(facts, known)


def mask_complete(cases: Cases, share: float, seed: int) -> Cases:
    """Hide each complete feature and static fact in a share of the cases, the cases drawn anew for each.

    The record itself loses all values of the feature, so that its statistics vanish together and its count is 0. Values
    that most cases lack anyway stay as they are.

    Args:
        cases: Training cases.
        share: Share of the cases in which each complete feature or fact is hidden, from 0 to 1.
        seed: Seed of the draws. A draw also depends on the name that it hides, not on the order of the names.

    Returns:
        The same cases in the same order, some without some of their values.
    """
    hidden: list[set[str]] = [set() for _ in range(len(cases))]
    hidden_facts: list[set[str]] = [set() for _ in range(len(cases))]
    for names, of_case in zip(_complete(cases), (hidden, hidden_facts), strict=True):
        for name in names:
            for n in _drawn(len(cases), share, f"{seed}:{name}"):
                of_case[n].add(name)
    return cases.changed(
        lambda places, some: [_without(case, hidden[n], hidden_facts[n]) for n, case in zip(places, some, strict=True)]
    )


def _in_nearly_all(names: tuple[str, ...], known: BoolArray) -> tuple[str, ...]:
    """Select the names whose column of `known`, shape (N, len(names)), is true in nearly all rows."""
    if not len(known):
        return ()
    return tuple(name for name, part in zip(names, known.mean(axis=0), strict=True) if part >= COMPLETE)


def _drawn(n_cases: int, share: float, key: str) -> list[int]:
    """Draw the positions of a share of the cases without replacement."""
    entropy = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")
    return [int(n) for n in np.random.default_rng(entropy).permutation(n_cases)[: round(share * n_cases)]]


def _without(case: Case, features: set[str], facts: set[str]) -> Case:
    if not features and not facts:
        return case
    values = case.values.copy()
    values[:, [j for j, name in enumerate(case.features) if name in features]] = np.nan
    return replace(case, values=values, static={**case.static, **dict.fromkeys(facts, float("nan"))})
