"""LightGBM on summary statistics: the strong supervised baseline for tabular data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

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
    mask_complete,
)
from eagbench_plugins.experts.salience import as_salience
from eagbench_plugins.experts.tuning import is_large_enough, patient_folds


class LightGBM:
    """Gradient-boosted trees (Ke et al., NeurIPS 2017) on statistics of the window; missing values stay missing.

    The number of rounds is the one with the lowest log loss. It is measured on the tuning cases if there are at least
    100 with at least 20 events and 20 non-events. Otherwise it is measured in five-fold cross-validation by patient
    inside the training cases. With fewer than 20 training patients of either outcome, the number is `n_estimators`
    itself. Salience is the sum of absolute SHAP values (Lundberg et al., 2020, tree-path-dependent, LightGBM's
    `pred_contrib`) over a feature's columns; static facts are left out.
    """

    name: ClassVar[str] = "lightgbm"

    class Params(StrictParams):
        """Parameters, with the names and meanings of LightGBM's own where it has them.

        Attributes:
            summary: Statistics of each feature over the window.
            n_estimators: Maximum number of boosting rounds.
            early_stopping_rounds: Rounds without a lower log loss after which boosting stops.
            learning_rate: Shrinkage of each tree.
            num_leaves: Number of leaves per tree.
            min_child_samples: Minimum number of cases per leaf.
            subsample: Share of the cases that each tree uses.
            colsample_bytree: Share of the columns that each tree uses.
            reg_lambda: L2 penalty on leaf values.
            num_threads: Number of threads for training and prediction.
            masked_share: Share of the training cases in which each feature or static fact that at least 99.5 % of them
                have is hidden, so that the trees learn what to do without it.
        """

        summary: Annotated[tuple[Statistic, ...], Field(min_length=1)] = ("mean", "min", "max", "last", "count")
        n_estimators: Annotated[int, Field(ge=1)] = 400
        early_stopping_rounds: Annotated[int, Field(ge=1)] = 50
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.03
        num_leaves: Annotated[int, Field(ge=2)] = 15
        min_child_samples: Annotated[int, Field(ge=1)] = 20
        subsample: Annotated[float, Field(gt=0, le=1)] = 0.8
        colsample_bytree: Annotated[float, Field(gt=0, le=1)] = 0.5
        reg_lambda: Annotated[float, Field(ge=0)] = 1.0
        num_threads: Annotated[int, Field(ge=1)] = 1
        masked_share: Annotated[float, Field(ge=0, lt=1)] = 0.05

    def __init__(self, params: Params) -> None:
        self.params = params

    def fit(self, data: TrainingData, run: StageRun) -> None:
        """Fit on the training cases; see the class for the number of rounds.

        Raises:
            UserError: The training cases have one outcome only.
        """
        import lightgbm

        if len(np.unique(data.train.labels)) < 2:
            raise UserError(
                "lightgbm needs both outcomes among its training cases",
                hint="Use more patients, or another split seed.",
            )
        cases = mask_complete(data.train.cases, self.params.masked_share, run.seed)
        self.summary = RecordSummary(cases.feature_names, cases.static_names, self.params.summary)
        settings = self.settings(run.seed)
        table = self.summary.table(cases)  # (N, C)
        train = lightgbm.Dataset(table, data.train.labels, feature_name=list(self.summary.columns), free_raw_data=False)
        stop = lightgbm.early_stopping(self.params.early_stopping_rounds, verbose=False)
        n_rounds = self.params.n_estimators
        if is_large_enough(data.tuning):
            tuning = train.create_valid(self.summary.table(data.tuning.cases), data.tuning.labels)
            booster = lightgbm.train(settings, train, n_rounds, valid_sets=[tuning], callbacks=[stop])
            n_rounds = booster.best_iteration
        else:
            if (folds := patient_folds(data.train, run.seed)) is not None:
                curve = lightgbm.cv(settings, train, n_rounds, folds=folds, callbacks=[stop])
                n_rounds = len(curve["valid binary_logloss-mean"])
            booster = lightgbm.train(settings, train, n_rounds)
        # What predicts here is what `load` reads: the text form, cut after the best round.
        self.booster = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=n_rounds))

    def settings(self, seed: int) -> dict[str, Any]:
        """Build LightGBM's parameters; the same seed gives the same trees with any number of threads."""
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "learning_rate": self.params.learning_rate,
            "num_leaves": self.params.num_leaves,
            "min_child_samples": self.params.min_child_samples,
            "subsample": self.params.subsample,
            "subsample_freq": 1,
            "colsample_bytree": self.params.colsample_bytree,
            "reg_lambda": self.params.reg_lambda,
            "num_threads": self.params.num_threads,
            "seed": seed % 2**31,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }

    def predict(self, cases: Cases) -> FloatArray:
        """Predict the probability of the outcome. Shape (N,)."""
        if not len(cases):
            return np.zeros(0)
        return np.asarray(self.booster.predict(self.summary.table(cases), num_threads=self.params.num_threads))

    def salience(self, cases: Cases) -> FloatArray:
        """Sum the absolute SHAP values per feature and normalise them. Shape (N, F)."""
        n_features = len(self.summary.features)
        if not len(cases):
            return np.zeros((0, len(cases.features)))
        table = self.summary.table(cases)
        contributions = np.abs(
            np.asarray(self.booster.predict(table, pred_contrib=True, num_threads=self.params.num_threads))
        )[:, :-1]  # (N, C); the last column is the expected value
        feature = self.summary.feature_of_column
        weights = np.stack([contributions[:, feature == f].sum(axis=1) for f in range(n_features)], axis=1)  # (N, F)
        return as_salience(weights, self.summary.features, cases)

    def save(self, folder: Path) -> None:
        """Write `lightgbm.txt`, in LightGBM's own format, and `summary.json`."""
        (folder / "lightgbm.txt").write_text(self.booster.model_to_string(), encoding="utf-8")
        (folder / "summary.json").write_text(json.dumps(self.summary.as_json(), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, params: Params, folder: Path) -> Self:
        """Read the fitted expert that `save` wrote."""
        import lightgbm

        expert = cls(params)
        expert.summary = RecordSummary.from_json(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
        expert.booster = lightgbm.Booster(model_str=(folder / "lightgbm.txt").read_text(encoding="utf-8"))
        return expert
