"""A logistic regression on dense columns: the head of the methods that train one on hidden states.

It minimises, over standardised columns z (mean 0, variance 1 on the training cases; a constant column is 0),

    sum_i log(1 + exp(-y_i f(z_i)))  +  1/(2 C) sum_c (b_c / a_c)^2,      f(z) = b_0 + sum_c b_c z_c,  y_i = -1 or 1

The caller gives the weights a_c > 0; a column of weight 2 gets a quarter of the penalty. C is chosen as
`penalised_logistic` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from eagbench.api import FloatArray, IntArray, load_arrays, save_arrays
from eagbench_plugins.baselines.penalised_logistic import (
    cross_validated_log_loss,
    fit_best,
    fit_penalised,
    logistic,
)

_FILE = "head.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class LogisticHead:
    """A fitted head. All arrays have one entry per column, shape (C,).

    Attributes:
        mean: Mean over the training cases.
        scale: Standard deviation over the training cases; infinite for a constant column.
        coefficient: b_c.
        intercept: b_0.
        inverse_penalty: The chosen C.
        log_loss: Cross-validated mean log loss of each C, infinite for one that did not converge; empty if C was given.
    """

    mean: FloatArray
    scale: FloatArray
    coefficient: FloatArray
    intercept: float
    inverse_penalty: float
    log_loss: Mapping[float, float]

    @classmethod
    def fit(
        cls, columns: FloatArray, weights: FloatArray, labels: IntArray, patients: Sequence[str], seed: int
    ) -> Self:
        """Choose C and fit on all cases.

        Args:
            columns: Shape (N, C), finite.
            weights: a_c, shape (C,), positive.
            labels: 0 or 1, shape (N,).
            patients: The patient of each case; a fold never splits the cases of one patient.
            seed: Seed of the folds.

        Raises:
            UserError: Fewer than two patients have the outcome, or fewer than two do not have it; or no fit converges.
        """

        def log_odds(c: float, rest: IntArray, asked: IntArray) -> FloatArray:
            return cls.fit_with(c, columns[rest], weights, labels[rest]).log_odds(columns[asked])

        losses = cross_validated_log_loss(log_odds, labels, patients, seed)
        return fit_best(losses, lambda c: cls.fit_with(c, columns, weights, labels, losses))

    @classmethod
    def fit_with(
        cls,
        inverse_penalty: float,
        columns: FloatArray,
        weights: FloatArray,
        labels: IntArray,
        log_loss: Mapping[float, float] | None = None,
    ) -> Self:
        """Fit with a given C.

        Raises:
            NotConvergedError: The fit did not converge.
        """
        mean, spread = columns.mean(axis=0), columns.std(axis=0)
        scale = np.where(spread > 1e-9 * np.maximum(np.abs(mean), 1.0), spread, np.inf)
        coefficient, intercept = fit_penalised((columns - mean) / scale * weights, labels, inverse_penalty)
        return cls(
            mean=mean,
            scale=scale,
            coefficient=coefficient * weights,
            intercept=intercept,
            inverse_penalty=inverse_penalty,
            log_loss=dict(log_loss or {}),
        )

    def log_odds(self, columns: FloatArray) -> FloatArray:
        """Compute f(z). Shape (N,)."""
        return np.asarray((columns - self.mean) / self.scale @ self.coefficient + self.intercept)

    def predict(self, columns: FloatArray) -> FloatArray:
        """Predict the probability of the outcome. Shape (N,)."""
        return logistic(self.log_odds(columns))

    def save(self, folder: Path) -> None:
        """Write `head.safetensors`."""
        arrays = {
            "mean": self.mean,
            "scale": self.scale,
            "coefficient": self.coefficient,
            "log_loss": np.array([[c, loss] for c, loss in self.log_loss.items()]).reshape(-1, 2),
        }
        save_arrays(folder / _FILE, arrays, {"intercept": self.intercept, "inverse_penalty": self.inverse_penalty})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays, about = load_arrays(folder / _FILE)
        return cls(
            mean=arrays["mean"],
            scale=arrays["scale"],
            coefficient=arrays["coefficient"],
            intercept=about["intercept"],
            inverse_penalty=about["inverse_penalty"],
            log_loss={float(c): float(loss) for c, loss in arrays["log_loss"]},
        )
