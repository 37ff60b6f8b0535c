"""XGBoost on summary statistics: a second implementation of boosted trees. Its package is optional."""

from __future__ import annotations

import importlib.util
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


class XGBoost:
    """Gradient-boosted trees (Chen and Guestrin, KDD 2016) on statistics of the window; missing values stay missing.

    The number of rounds is chosen exactly as for `lightgbm`. Salience is the sum of absolute SHAP values (Lundberg et
    al., 2020, tree-path-dependent, XGBoost's `pred_contribs`) over a feature's columns; static facts are left out.
    Everything runs on the CPU, so that a machine with a GPU builds the same trees.
    """

    name: ClassVar[str] = "xgboost"

    class Params(StrictParams):
        """Parameters, with the names and meanings of XGBoost's own where it has them.

        Attributes:
            summary: Statistics of each feature over the window.
            n_estimators: Maximum number of boosting rounds.
            early_stopping_rounds: Rounds without a lower log loss after which boosting stops.
            learning_rate: Shrinkage of each tree.
            max_depth: Depth of each tree.
            min_child_weight: Minimum sum of the cases' Hessian, p (1 - p), in a leaf.
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
        max_depth: Annotated[int, Field(ge=1)] = 4
        min_child_weight: Annotated[float, Field(ge=0)] = 2.0
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
            UserError: The package xgboost is not installed, or the training cases have one outcome only.
        """
        xgboost = _xgboost()
        if len(np.unique(data.train.labels)) < 2:
            raise UserError(
                "xgboost needs both outcomes among its training cases",
                hint="Use more patients, or another split seed.",
            )
        cases = mask_complete(data.train.cases, self.params.masked_share, run.seed)
        self.summary = RecordSummary(cases.feature_names, cases.static_names, self.params.summary)
        settings = self.settings(run.seed)
        train = xgboost.DMatrix(self.summary.table(cases), data.train.labels)  # (N, C)
        rounds, patience = self.params.n_estimators, self.params.early_stopping_rounds
        if is_large_enough(data.tuning):
            tuning = xgboost.DMatrix(self.summary.table(data.tuning.cases), data.tuning.labels)
            booster = xgboost.train(
                settings, train, rounds, evals=[(tuning, "tuning")], early_stopping_rounds=patience, verbose_eval=False
            )
            rounds = booster.best_iteration + 1
        else:
            if (folds := patient_folds(data.train, run.seed)) is not None:
                curve = xgboost.cv(
                    settings, train, rounds, folds=folds, early_stopping_rounds=patience, as_pandas=False
                )
                rounds = len(curve["test-logloss-mean"])
            booster = xgboost.train(settings, train, rounds)
        # What predicts here is what `load` reads: the saved form, cut after the best round.
        self.booster = self._opened(booster[:rounds].save_raw("json"))

    def settings(self, seed: int) -> dict[str, Any]:
        """Build XGBoost's parameters; the same seed gives the same trees."""
        return {
            "objective": "binary:logistic",
            "eval_metric": "logloss",
            "tree_method": "hist",
            "device": "cpu",
            "learning_rate": self.params.learning_rate,
            "max_depth": self.params.max_depth,
            "min_child_weight": self.params.min_child_weight,
            "subsample": self.params.subsample,
            "colsample_bytree": self.params.colsample_bytree,
            "reg_lambda": self.params.reg_lambda,
            "nthread": self.params.num_threads,
            "seed": seed % 2**31,
            "verbosity": 1,
        }

    def predict(self, cases: Cases) -> FloatArray:
        """Predict the probability of the outcome. Shape (N,)."""
        if not len(cases):
            return np.zeros(0)
        return np.asarray(self.booster.predict(self._matrix(cases)), dtype=np.float64)

    def salience(self, cases: Cases) -> FloatArray:
        """Sum the absolute SHAP values per feature and normalise them. Shape (N, F)."""
        if not len(cases):
            return np.zeros((0, len(cases.features)))
        shap = self.booster.predict(self._matrix(cases), pred_contribs=True)  # (N, C + 1); the last is the bias
        contributions = np.abs(np.asarray(shap, dtype=np.float64))[:, :-1]  # (N, C)
        feature = self.summary.feature_of_column
        weights = np.stack(
            [contributions[:, feature == f].sum(axis=1) for f in range(len(self.summary.features))], axis=1
        )  # (N, F)
        return as_salience(weights, self.summary.features, cases)

    def save(self, folder: Path) -> None:
        """Write `xgboost.json`, in XGBoost's own format, and `summary.json`."""
        (folder / "xgboost.json").write_bytes(self.booster.save_raw("json"))
        (folder / "summary.json").write_text(json.dumps(self.summary.as_json(), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, params: Params, folder: Path) -> Self:
        """Read the fitted expert that `save` wrote."""
        expert = cls(params)
        expert.summary = RecordSummary.from_json(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
        expert.booster = expert._opened(bytearray((folder / "xgboost.json").read_bytes()))
        return expert

    def _opened(self, raw: bytearray) -> Any:
        booster = _xgboost().Booster(model_file=raw)
        booster.set_param({"nthread": self.params.num_threads, "device": "cpu"})
        return booster

    def _matrix(self, cases: Cases) -> Any:
        return _xgboost().DMatrix(self.summary.table(cases), nthread=self.params.num_threads)


def _xgboost() -> Any:
    """Import the package xgboost.

    Raises:
        UserError: It is not installed.
    """
    if importlib.util.find_spec("xgboost") is None:
        raise UserError(
            "the expert 'xgboost' needs the package xgboost, which is not installed",
            hint='pip install "eagbench[xgboost]"',
        )
    import xgboost

    return xgboost
