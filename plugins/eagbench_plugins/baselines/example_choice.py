"""Choose the training cases for a prompt: rank all of them for each asked case, and take the best."""

from __future__ import annotations

import hashlib

import numpy as np

from eagbench.api import FloatArray, IntArray, UserError
from eagbench_plugins.baselines.expert_output import ExpertOutput


class RepresentationSpace:
    """Distances between cases in an expert's representation: its probability and its salience.

    Features are matched by name, because a case of another domain has other features. z standardises a value on the
    training cases, l is the log odds, and s is the salience of the F' features whose salience varies in training. The
    distance of cases a and b is Euclidean, with the same weight for both parts:

        d(a, b)^2 = (z(l_a) - z(l_b))^2 + (1/F') sum_f (z(s_af) - z(s_bf))^2

    Args:
        training: The expert's (cross-fitted) output on the training cases.
    """

    def __init__(self, training: ExpertOutput) -> None:
        self._features = training.features
        columns = _columns(training)  # (N, 1 + F)
        self._mean = columns.mean(axis=0)
        spread = columns.std(axis=0)
        varies = spread > 1e-9
        weight = np.full(len(spread), 1 / np.sqrt(max(1, int(varies[1:].sum()))))
        weight[0] = 1.0
        self._weight = np.where(varies, weight / np.where(varies, spread, 1.0), 0.0)
        self._training = self._coordinates(training)

    def ranking(self, asked: ExpertOutput) -> IntArray:
        """Rank all N training cases for each of M asked cases, the nearest first; ties stay in the order of training.

        Returns:
            Positions, shape (M, N).
        """
        from scipy.spatial.distance import cdist

        distance: FloatArray = cdist(self._coordinates(asked), self._training)  # (M, N)
        return np.argsort(distance, axis=1, kind="stable")

    def _coordinates(self, output: ExpertOutput) -> FloatArray:
        return np.asarray((_columns(output.for_features(self._features)) - self._mean) * self._weight)


def _columns(output: ExpertOutput) -> FloatArray:
    return np.concatenate([output.log_odds[:, None], output.salience], axis=1)  # (N, 1 + F)


def random_ranking(case_id: str, n: int, seed: int) -> IntArray:
    """Shuffle all `n` training cases, with an order that depends only on the asked case and the seed."""
    key = hashlib.sha256(f"{seed}\0{case_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(key[:16], "little")).permutation(n)


def take(ranking: IntArray, labels: IntArray, shots: int, *, balanced: bool) -> list[int]:
    """Take the first `shots` cases of a ranking, or if `balanced` the first `shots` / 2 of either outcome.

    They stay in the ranking's order.

    Raises:
        UserError: There are too few training cases.
    """
    wanted: dict[int | None, int] = {0: shots // 2, 1: shots // 2} if balanced else {None: shots}
    taken: list[int] = []
    for i in map(int, ranking):
        outcome = int(labels[i]) if balanced else None
        if wanted[outcome]:
            wanted[outcome] -= 1
            taken.append(i)
    if any(wanted.values()):
        raise UserError(
            f"{shots} examples were asked for, and the {len(labels)} training cases ({int(labels.sum())} with the "
            "outcome) do not hold them",
            where="method few_shot",
            hint="take fewer `shots`, `balanced: false`, or more patients",
        )
    return taken
