"""A logistic regression whose L2 penalty is chosen inside the training cases, for dense or sparse columns.

C, the inverse penalty, is the value of `INVERSE_PENALTIES` with the lowest log loss in five-fold cross-validation by
patient; ties go to the stronger penalty. A C whose fit does not converge, in a fold or on all cases, is skipped as long
as another C converges.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from eagbench.api import FloatArray, IntArray, UserError

INVERSE_PENALTIES: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
WHERE = "a logistic regression on text or hidden states"
_FOLDS = 5


class NotConvergedError(UserError):
    """A fit with one penalty did not converge."""


def fit_penalised(columns: Any, labels: IntArray, inverse_penalty: float) -> tuple[FloatArray, float]:
    """Fit with a given C.

    Args:
        columns: Shape (N, C), dense or a SciPy sparse array.
        labels: 0 or 1, shape (N,).
        inverse_penalty: C.

    Returns:
        Coefficients, shape (C,), and intercept.

    Raises:
        NotConvergedError: The fit did not converge.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=inverse_penalty, max_iter=20_000, tol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(columns, labels)
        except ConvergenceWarning as error:
            raise NotConvergedError(
                f"a fit with C = {inverse_penalty:g} did not converge in {model.max_iter} iterations",
                where=WHERE,
                hint="look for columns or weights that are many orders of magnitude apart",
            ) from error
    return np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0])


def logistic(log_odds: FloatArray) -> FloatArray:
    """Turn log odds into probabilities, without overflow. Shape stays."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * log_odds)))


def cross_validated_log_loss(
    log_odds: Callable[[float, IntArray, IntArray], FloatArray], labels: IntArray, patients: Sequence[str], seed: int
) -> dict[float, float]:
    """Compute the mean log loss of each C on cases of patients that the model was not fitted on.

    Args:
        log_odds: Fits with a C on the cases at some positions and returns the log odds of those at others; it may raise
            `NotConvergedError`.
        labels: 0 or 1, shape (N,).
        patients: The patient of each case; a fold never splits the cases of one patient.
        seed: Seed of the folds.

    Returns:
        The log loss by C; infinite for one that did not converge.

    Raises:
        UserError: Fewer than two patients have the outcome, or fewer than two do not have it.
    """
    total = dict.fromkeys(INVERSE_PENALTIES, 0.0)
    folds = _folds(labels, patients, seed)
    for rest, asked in folds:
        sign = 2 * labels[asked] - 1
        for c in INVERSE_PENALTIES:
            try:
                total[c] += float(np.logaddexp(0.0, -sign * log_odds(c, rest, asked)).sum())
            except NotConvergedError:
                total[c] = np.inf
    n_asked = sum(len(asked) for _, asked in folds)
    return {c: loss / n_asked for c, loss in total.items()}


def fit_best[Fitted](log_loss: Mapping[float, float], fit: Callable[[float], Fitted]) -> Fitted:
    """Fit with the C of the lowest log loss; with the next one if that does not converge.

    Raises:
        NotConvergedError: No C converges.
    """
    *first, last = sorted(INVERSE_PENALTIES, key=lambda c: (log_loss[c], c))
    for c in first:
        try:
            return fit(c)
        except NotConvergedError:
            continue
    return fit(last)


def _folds(labels: IntArray, patients: Sequence[str], seed: int) -> list[tuple[IntArray, IntArray]]:
    """Split the cases by patient, stratified by label, into positions of (rest, asked)."""
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = fewest_patients(labels, patients)
    splitter = StratifiedGroupKFold(min(_FOLDS, fewest), shuffle=True, random_state=seed % 2**32)
    return [
        (rest, asked)
        for rest, asked in splitter.split(np.zeros(len(labels)), labels, groups=np.array(patients))
        # With patients of several cases a fold may get all cases of an outcome.
        if len(np.unique(labels[rest])) == 2
    ]


def fewest_patients(labels: IntArray, patients: Sequence[str]) -> int:
    """Count the patients of the rarer outcome.

    Raises:
        UserError: They are fewer than two, so that no penalty can be chosen.
    """
    of = np.array(patients)
    fewest = min(len(np.unique(of[labels == outcome])) for outcome in (0, 1))
    if fewest < 2:
        raise UserError(
            f"the penalty can't be chosen: among {len(labels)} training cases one outcome has {fewest} patients",
            where=WHERE,
            hint="take more patients, or another split seed",
        )
    return fewest
