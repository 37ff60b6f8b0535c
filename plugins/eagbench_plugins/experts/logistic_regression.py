"""Logistic regression on summary statistics: the linear baseline that every other expert should beat."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field

from eagbench.api import (
    Cases,
    FloatArray,
    RecordSummary,
    StageRun,
    Statistic,
    StrictParams,
    TrainingData,
    UserError,
    complete_features,
    load_arrays,
    save_arrays,
)
from eagbench_plugins.experts.salience import as_salience

_FILE = "logistic_regression.safetensors"


class LogisticRegression:
    """L2-penalised logistic regression (scikit-learn, lbfgs) on standardised statistics of the window.

    Missing values are filled with the training median; a feature's `count` shows whether it was ever measured. Where at
    least 99.5 % of the training cases have the feature, a count of 0 is filled too: a line through counts that are all
    high would read it as far beyond the lowest of them. Salience is the sum of |coefficient x standardised value| over
    a feature's columns.
    """

    name: ClassVar[str] = "logistic_regression"

    class Params(StrictParams):
        """Parameters.

        Attributes:
            summary: Statistics of each feature over the window.
            inverse_penalty: scikit-learn's `C`; a smaller value shrinks coefficients more.
            max_iterations: Maximum number of optimiser iterations.
        """

        summary: Annotated[tuple[Statistic, ...], Field(min_length=1)] = ("mean", "min", "max", "last", "count")
        inverse_penalty: Annotated[float, Field(gt=0)] = 0.01
        max_iterations: Annotated[int, Field(ge=1)] = 2000

    def __init__(self, params: Params) -> None:
        self.params = params

    def fit(self, data: TrainingData, run: StageRun) -> None:
        """Fit on the training cases. The fit is deterministic and uses neither the seed nor tuning cases."""
        del run
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

        cases, labels = data.train.cases, data.train.labels
        if len(np.unique(labels)) < 2:
            raise UserError(
                "logistic_regression needs both outcomes among its training cases",
                hint="Use more patients, or another split seed.",
            )
        self.summary = RecordSummary(cases.feature_names, cases.static_names, self.params.summary)
        counts = [f"{name}.count" for name in complete_features(cases)]
        self.always_counted = np.isin(self.summary.columns, counts)
        table = self.summary.table(cases)  # (N, C)
        measured = ~np.isnan(table)
        self.median = np.array(
            [
                float(np.median(column[seen])) if seen.any() else 0.0
                for column, seen in zip(table.T, measured.T, strict=True)
            ]
        )
        columns = self._filled(table)  # (N, C)
        self.mean = columns.mean(axis=0)
        spread = columns.std(axis=0)
        # A constant column carries nothing: its standardised value is 0, not rounding noise divided by itself.
        self.scale = np.where(spread > 1e-9 * np.maximum(np.abs(self.mean), 1.0), spread, np.inf)
        model = SklearnLogisticRegression(C=self.params.inverse_penalty, max_iter=self.params.max_iterations, tol=1e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                model.fit((columns - self.mean) / self.scale, labels)
            except ConvergenceWarning as error:
                raise UserError(
                    f"logistic_regression did not converge in {self.params.max_iterations} iterations",
                    hint="Raise max_iterations or lower inverse_penalty.",
                ) from error
        self.coefficient = np.asarray(model.coef_[0], dtype=np.float64)
        self.intercept = float(model.intercept_[0])

    def predict(self, cases: Cases) -> FloatArray:
        """Predict the probability of the outcome. Shape (N,)."""
        logit = self._contributions(cases).sum(axis=1) + self.intercept
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit)))  # the logistic function, without overflow

    def salience(self, cases: Cases) -> FloatArray:
        """Sum the absolute contributions to the log odds per feature and normalise them. Shape (N, F)."""
        size = np.abs(self._contributions(cases))  # (N, C)
        feature = self.summary.feature_of_column
        weights = np.stack([size[:, feature == f].sum(axis=1) for f in range(len(self.summary.features))], axis=1)
        return as_salience(weights, self.summary.features, cases)

    def save(self, folder: Path) -> None:
        """Write `logistic_regression.safetensors`."""
        names = ("median", "mean", "scale", "coefficient", "always_counted")
        arrays = {name: getattr(self, name) for name in names}
        about = {"summary": self.summary.as_json(), "intercept": self.intercept}
        save_arrays(folder / _FILE, arrays, about)

    @classmethod
    def load(cls, params: Params, folder: Path) -> Self:
        """Read the fitted expert that `save` wrote."""
        arrays, about = load_arrays(folder / _FILE)
        expert = cls(params)
        expert.summary = RecordSummary.from_json(about["summary"])
        expert.median, expert.mean = arrays["median"], arrays["mean"]
        expert.scale, expert.coefficient = arrays["scale"], arrays["coefficient"]
        expert.always_counted = arrays["always_counted"]
        expert.intercept = float(about["intercept"])
        return expert

    def _filled(self, table: FloatArray) -> FloatArray:
        """Fill missing statistics with the training median, counts of 0 among them as the class says. Shape (N, C)."""
        return np.where(np.isnan(table) | (self.always_counted & (table == 0)), self.median, table)

    def _contributions(self, cases: Cases) -> FloatArray:
        """Multiply each standardised value by its coefficient. Shape (N, C)."""
        columns = self._filled(self.summary.table(cases))
        return np.asarray(self.coefficient * ((columns - self.mean) / self.scale))
