"""A logistic regression whose penalty is chosen inside the training cases: the head of the hybrids that train one.

It minimises, over standardised columns z (mean 0, variance 1 on the training cases; a constant column is 0),

    sum_i log(1 + exp(-y_i f(z_i)))  +  1/(2 C) sum_c (b_c / a_c)^2,      f(z) = b_0 + sum_c b_c z_c,  y_i = -1 or 1

The caller gives the weights a_c > 0; a column of weight 2 gets a quarter of the penalty. C is the value of
`INVERSE_PENALTIES` with the lowest log loss in cross-validation by patient; ties go to the stronger penalty. A C whose
fit does not converge, in a fold or on all cases, is skipped as long as another C converges.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from eagbench.api import FloatArray, IntArray, UserError, load_arrays, save_arrays

INVERSE_PENALTIES: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
_FOLDS = 5
_FILE = "head.safetensors"


class NotConvergedError(UserError):
    """A fit with one penalty did not converge."""


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
        losses = _cross_validated(columns, weights, labels, patients, seed)
        *first, last = sorted(INVERSE_PENALTIES, key=lambda c: (losses[c], c))
        for c in first:
            try:
                return cls.fit_with(c, columns, weights, labels, losses)
            except NotConvergedError:
                continue
        return cls.fit_with(last, columns, weights, labels, losses)

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
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        mean, spread = columns.mean(axis=0), columns.std(axis=0)
        scale = np.where(spread > 1e-9 * np.maximum(np.abs(mean), 1.0), spread, np.inf)
        model = LogisticRegression(C=inverse_penalty, max_iter=20_000, tol=1e-5)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                model.fit((columns - mean) / scale * weights, labels)
            except ConvergenceWarning as error:
                raise NotConvergedError(
                    f"a fit with C = {inverse_penalty:g} did not converge in {model.max_iter} iterations",
                    where="hybrid with a trained head",
                    hint="look for columns or weights that are many orders of magnitude apart",
                ) from error
        return cls(
            mean=mean,
            scale=scale,
            coefficient=np.asarray(model.coef_[0] * weights, dtype=np.float64),
            intercept=float(model.intercept_[0]),
            inverse_penalty=inverse_penalty,
            log_loss=dict(log_loss or {}),
        )

    def log_odds(self, columns: FloatArray) -> FloatArray:
        """Compute f(z). Shape (N,)."""
        return np.asarray((columns - self.mean) / self.scale @ self.coefficient + self.intercept)

    def predict(self, columns: FloatArray) -> FloatArray:
        """Predict the probability of the outcome. Shape (N,)."""
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * self.log_odds(columns))))  # the logistic function, no overflow

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


def _cross_validated(
    columns: FloatArray, weights: FloatArray, labels: IntArray, patients: Sequence[str], seed: int
) -> dict[float, float]:
    """Compute the mean log loss of each C on cases of patients that the head was not fitted on."""
    from sklearn.model_selection import StratifiedGroupKFold

    of = np.array(patients)
    fewest = min(len(np.unique(of[labels == outcome])) for outcome in (0, 1))
    if fewest < 2:
        raise UserError(
            f"the penalty can't be chosen: among {len(labels)} training cases one outcome has {fewest} patients",
            where="hybrid with a trained head",
            hint="take more patients, or another split seed",
        )
    splitter = StratifiedGroupKFold(min(_FOLDS, fewest), shuffle=True, random_state=seed % 2**32)
    folds = [
        (rest, asked)
        for rest, asked in splitter.split(columns, labels, groups=of)
        # With patients of several cases a fold may get all cases of an outcome.
        if len(np.unique(labels[rest])) == 2
    ]
    total = dict.fromkeys(INVERSE_PENALTIES, 0.0)
    for rest, asked in folds:
        sign = 2 * labels[asked] - 1
        for c in INVERSE_PENALTIES:
            try:
                head = LogisticHead.fit_with(c, columns[rest], weights, labels[rest])
            except NotConvergedError:
                total[c] = np.inf
                continue
            total[c] += float(np.logaddexp(0.0, -sign * head.log_odds(columns[asked])).sum())
    n_asked = sum(len(asked) for _, asked in folds)
    return {c: loss / n_asked for c, loss in total.items()}
