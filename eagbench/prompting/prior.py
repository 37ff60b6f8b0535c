"""Prior correction: a policy's answers, adjusted to the share of positive cases in the population.

A policy that was trained on balanced or selected cases answers as if the outcome were as common as among them. Bayes'
rule corrects its answers: the odds are divided by the prior odds of the training examples and multiplied by those of
the population (Saerens, Latinne and Decaestecker, Neural Computation 2002, equation 2.4; Elkan, IJCAI 2001, theorem 2).
With r = population / learnt and s = (1 - population) / (1 - learnt),

    p' = p r / (p r + (1 - p) s).

The correction is exact under two conditions: the policy's answers were the posterior under the prior it learnt from,
and records have the same distribution within each class in both populations. It fixes no other miscalibration, and it
never changes the order of a policy's answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eagbench.contracts.records import IntArray

_FILE = "prior.json"


@dataclass(frozen=True, slots=True)
class LearntPrior:
    """Two shares of positive cases.

    Attributes:
        learnt: Share among the examples that the policy was trained on, repeats counted.
        population: Share among all training cases of the fold, before any selection or balancing.
    """

    learnt: float
    population: float

    def corrected(self, probability: float) -> float | None:
        """Correct an answer to the population's prior.

        Args:
            probability: The policy's answer, in [0, 1].

        Returns:
            In [0, 1]; 0 stays 0 and 1 stays 1. None if the policy was trained on one class only: its prior odds are
            then infinite or 0, and no correction exists.
        """
        if not 0 < self.learnt < 1:
            return None
        positive = probability * self.population / self.learnt
        negative = (1 - probability) * (1 - self.population) / (1 - self.learnt)
        return positive / (positive + negative)


def write_prior(folder: Path, learnt_labels: Sequence[int] | IntArray, training_labels: IntArray) -> None:
    """Write `prior.json` into a policy folder.

    Every stage that trains on answers writes it, and the last one counts.

    Args:
        folder: The policy folder.
        learnt_labels: Label of each example that the policy was trained on, repeats included, at least one.
        training_labels: Labels of all training cases of the fold, (N,).
    """
    prior = LearntPrior(float(np.mean(learnt_labels)), float(np.mean(training_labels)))
    (folder / _FILE).write_text(json.dumps(asdict(prior), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_prior(folder: Path) -> LearntPrior | None:
    """Read what `write_prior` wrote; return None for a policy that was not trained on answers."""
    path = folder / _FILE
    return LearntPrior(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
