from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import pytest

from builders import make_cases, make_training_data
from eagbench.api import StageRun, TrainingData, mask_complete
from eagbench.stats.record_summary import RecordSummary
from eagbench_plugins.experts.gradient_boosting import LightGBM

DRIVERS = {"lactate": 2.0, "urea": -1.5}
STATISTICS = ("mean", "min", "max", "last", "count")


def fit(data: TrainingData, folder: Path, **params: object) -> LightGBM:
    expert = LightGBM(LightGBM.Params(**params))
    expert.fit(data, StageRun(params={}, inputs={}, seed=7, out=folder))
    return expert


def reference(n_estimators: int) -> lightgbm.LGBMClassifier:
    return lightgbm.LGBMClassifier(
        n_estimators=n_estimators,
        learning_rate=0.03,
        num_leaves=15,
        min_child_samples=20,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.5,
        reg_lambda=1.0,
        random_state=7,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        verbosity=-1,
    )


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return make_training_data(make_cases(600, DRIVERS, seed=1), 200)


def test_agrees_with_lightgbm_s_own_classifier_stopped_on_tuning_cases(data: TrainingData, tmp_path: Path) -> None:
    expert = fit(data, tmp_path)
    summary = RecordSummary(data.train.cases.feature_names, data.train.cases.static_names, STATISTICS)
    model = reference(400).fit(
        summary.table(mask_complete(data.train.cases, 0.05, seed=7)),
        data.train.labels,
        eval_X=summary.table(data.tuning.cases),
        eval_y=data.tuning.labels,
        callbacks=[lightgbm.early_stopping(50, verbose=False)],
    )
    assert expert.booster.num_trees() == model.best_iteration_ < 400
    table = summary.table(make_cases(50, DRIVERS, seed=2).cases)
    np.testing.assert_array_equal(
        expert.predict(make_cases(50, DRIVERS, seed=2).cases), model.predict_proba(table)[:, 1]
    )


def test_salience_is_the_share_of_absolute_shap_values(data: TrainingData, tmp_path: Path) -> None:
    expert = fit(data, tmp_path, n_estimators=20)
    cases = data.tuning.cases
    shap = np.abs(expert.booster.predict(expert.summary.table(cases), pred_contrib=True))  # (N, F * 5 + 2 + 1)
    n_features = len(cases.features)
    per_feature = shap[:, : n_features * 5].reshape(len(cases), n_features, 5).sum(axis=2)
    np.testing.assert_allclose(expert.salience(cases), per_feature / per_feature.sum(axis=1, keepdims=True))


def test_cross_validation_inside_training_chooses_the_rounds_if_tuning_is_small(
    data: TrainingData, tmp_path: Path
) -> None:
    small = TrainingData(data.train, data.tuning.select(range(50)))
    n_rounds = fit(small, tmp_path).booster.num_trees()
    assert 10 < n_rounds < 400
    summary = RecordSummary(data.train.cases.feature_names, data.train.cases.static_names, STATISTICS)
    model = reference(n_rounds).fit(summary.table(mask_complete(data.train.cases, 0.05, seed=7)), data.train.labels)
    cases = make_cases(50, DRIVERS, seed=2).cases
    np.testing.assert_array_equal(fit(small, tmp_path).predict(cases), model.predict_proba(summary.table(cases))[:, 1])


def test_with_few_events_the_rounds_are_fixed(tmp_path: Path) -> None:
    labelled = make_cases(300, DRIVERS)
    few = labelled.select([*np.flatnonzero(labelled.labels)[:19], *np.flatnonzero(labelled.labels == 0)])
    assert fit(make_training_data(few, 0), tmp_path, n_estimators=30).booster.num_trees() == 30
