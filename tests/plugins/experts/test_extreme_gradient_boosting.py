from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import make_cases, make_training_data
from eagbench.api import StageRun, TrainingData, UserError, mask_complete
from eagbench.registry import code_versions
from eagbench.registry.code_versions import code_version
from eagbench.registry.third_party import distribution_of
from eagbench.stats.record_summary import RecordSummary
from eagbench_plugins.experts.extreme_gradient_boosting import XGBoost
from eagbench_plugins.experts.gradient_boosting import LightGBM

DRIVERS = {"lactate": 2.0, "urea": -1.5}
STATISTICS = ("mean", "min", "max", "last", "count")


def fit(data: TrainingData, folder: Path, **params: object) -> XGBoost:
    expert = XGBoost(XGBoost.Params(**params))
    expert.fit(data, StageRun(params={}, inputs={}, seed=7, out=folder))
    return expert


def reference(n_estimators: int, **more: Any) -> Any:
    xgboost = pytest.importorskip("xgboost")
    return xgboost.XGBClassifier(
        n_estimators=n_estimators,
        learning_rate=0.03,
        max_depth=4,
        min_child_weight=2.0,
        subsample=0.8,
        colsample_bytree=0.5,
        reg_lambda=1.0,
        tree_method="hist",
        eval_metric="logloss",
        random_state=7,
        n_jobs=1,
        **more,
    )


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return make_training_data(make_cases(600, DRIVERS, seed=1), 200)


def test_agrees_with_xgboosts_own_classifier_stopped_on_tuning_cases(data: TrainingData, tmp_path: Path) -> None:
    model = reference(400, early_stopping_rounds=50)
    expert = fit(data, tmp_path)
    summary = RecordSummary(data.train.cases.feature_names, data.train.cases.static_names, STATISTICS)
    tuning = (summary.table(data.tuning.cases), data.tuning.labels)
    model.fit(
        summary.table(mask_complete(data.train.cases, 0.05, seed=7)),
        data.train.labels,
        eval_set=[tuning],
        verbose=False,
    )
    assert expert.booster.num_boosted_rounds() == model.best_iteration + 1 < 400
    cases = make_cases(50, DRIVERS, seed=2).cases
    np.testing.assert_allclose(expert.predict(cases), model.predict_proba(summary.table(cases))[:, 1], rtol=1e-6)


def test_cross_validation_inside_training_chooses_the_rounds_if_tuning_is_small(
    data: TrainingData, tmp_path: Path
) -> None:
    pytest.importorskip("xgboost")
    small = TrainingData(data.train, data.tuning.select(range(50)))
    expert = fit(small, tmp_path)
    rounds = expert.booster.num_boosted_rounds()
    assert 10 < rounds < 400
    summary = RecordSummary(data.train.cases.feature_names, data.train.cases.static_names, STATISTICS)
    model = reference(rounds).fit(summary.table(mask_complete(data.train.cases, 0.05, seed=7)), data.train.labels)
    cases = make_cases(50, DRIVERS, seed=2).cases
    np.testing.assert_allclose(expert.predict(cases), model.predict_proba(summary.table(cases))[:, 1], rtol=1e-6)


def test_with_few_events_the_rounds_are_fixed(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    labelled = make_cases(300, DRIVERS)
    few = labelled.select([*np.flatnonzero(labelled.labels)[:19], *np.flatnonzero(labelled.labels == 0)])
    assert fit(make_training_data(few, 0), tmp_path, n_estimators=30).booster.num_boosted_rounds() == 30


def test_salience_is_the_share_of_absolute_shap_values(data: TrainingData, tmp_path: Path) -> None:
    """XGBoost's contributions add up to the log odds, by which they are known to be SHAP values."""
    xgboost = pytest.importorskip("xgboost")
    expert = fit(data, tmp_path, n_estimators=20)
    cases = data.tuning.cases
    table = xgboost.DMatrix(expert.summary.table(cases))
    shap = expert.booster.predict(table, pred_contribs=True)  # (N, F * 5 + 2 + 1)
    np.testing.assert_allclose(shap.sum(axis=1), expert.booster.predict(table, output_margin=True), atol=1e-4)
    size = np.abs(shap.astype(np.float64))
    n_features = len(cases.features)
    per_feature = size[:, : n_features * 5].reshape(len(cases), n_features, 5).sum(axis=2)
    np.testing.assert_allclose(expert.salience(cases), per_feature / per_feature.sum(axis=1, keepdims=True))


def test_without_the_package_the_message_says_how_to_get_it(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "xgboost" else real(name))
    with pytest.raises(UserError, match="not installed") as refused:
        fit(data, tmp_path)
    assert "pip install" in str(refused.value.hint)


def test_the_packages_version_counts_and_is_missed_while_planning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "xgboost" in code_version(XGBoost.__module__).packages
    assert "xgboost" not in code_version(LightGBM.__module__).packages

    def hidden(package: str) -> str | None:
        return None if package == "xgboost" else distribution_of(package)

    monkeypatch.setattr(code_versions, "distribution_of", hidden)
    with pytest.raises(UserError, match="the expert 'xgboost' needs xgboost, which is not installed") as refused:
        code_version.__wrapped__(XGBoost.__module__).require("the expert 'xgboost'")
    assert refused.value.hint == "pip install xgboost"
