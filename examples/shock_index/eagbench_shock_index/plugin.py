"""The expert `shock_index`: heart rate over systolic blood pressure (Allgower & Burri, Dtsch Med Wochenschr 1967)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from eagbench.api import (
    Cases,
    FloatArray,
    RecordSummary,
    Register,
    StageRun,
    StrictParams,
    TrainingData,
    UserError,
    hookimpl,
    load_arrays,
    save_arrays,
)

_FILE = "shock_index.safetensors"
_READ = RecordSummary(("heart_rate", "systolic_blood_pressure"), (), ("last",))


class ShockIndex:
    """A logistic regression on the last shock index; where it can't be computed, on its mean in training."""

    name: ClassVar[str] = "shock_index"

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def fit(self, data: TrainingData, run: StageRun) -> None:
        """Fit two numbers on the training cases."""
        from sklearn.linear_model import LogisticRegression

        missing = set(_READ.features) - set(data.train.cases.feature_names)
        if missing:
            raise UserError(f"shock_index needs {' and '.join(sorted(missing))}, which the data set does not have")
        index = _index(data.train.cases)
        self.mean = np.nanmean(index) if not np.isnan(index).all() else np.float64(0.7)
        model = LogisticRegression().fit(np.where(np.isnan(index), self.mean, index)[:, None], data.train.labels)
        self.slope, self.intercept = model.coef_[0], model.intercept_

    def predict(self, cases: Cases) -> FloatArray:
        """Predict the probability of the outcome. Shape (N,)."""
        index = _index(cases)
        log_odds = self.slope * np.where(np.isnan(index), self.mean, index) + self.intercept
        return np.asarray(0.5 * (1 + np.tanh(log_odds / 2)))

    def salience(self, cases: Cases) -> FloatArray:
        """Weigh both features alike, and no other. Shape (N, F)."""
        is_read = np.isin(cases.feature_names, _READ.features)
        return np.tile(is_read / is_read.sum(), (len(cases), 1))

    def save(self, folder: Path) -> None:
        """Write three numbers."""
        save_arrays(
            folder / _FILE, {name: np.atleast_1d(getattr(self, name)) for name in ("mean", "slope", "intercept")}
        )

    @classmethod
    def load(cls, params: Params, folder: Path) -> Self:
        """Read what `save` wrote."""
        expert = cls(params)
        arrays, _ = load_arrays(folder / _FILE)
        expert.mean, expert.slope, expert.intercept = (arrays[name] for name in ("mean", "slope", "intercept"))
        return expert


def _index(cases: Cases) -> FloatArray:
    """Divide the last heart rate by the last systolic blood pressure. Shape (N,), NaN where one is missing."""
    rate, pressure = _READ.table(cases).T
    return np.divide(rate, pressure, out=np.full(len(rate), np.nan), where=pressure > 0)


@hookimpl
def register_experts(register: Register) -> None:
    """Register the expert."""
    register(ShockIndex)
