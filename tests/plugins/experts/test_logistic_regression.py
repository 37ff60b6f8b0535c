from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from builders import make_cases, make_training_data, more_often_measured_if_dying
from eagbench.api import Cases, FloatArray, StageRun, TrainingData, UserError
from eagbench.stats.record_summary import RecordSummary
from eagbench_plugins.experts.logistic_regression import LogisticRegression

STATISTICS = ("mean", "min", "max", "last", "count")
DRIVERS = {"lactate": 2.0, "urea": -1.5}


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return make_training_data(make_cases(300, DRIVERS, n_times=2, missing=0.6), 0)


def fit(data: TrainingData, folder: Path, **params: object) -> LogisticRegression:
    expert = LogisticRegression(LogisticRegression.Params(**params))
    expert.fit(data, StageRun(params={}, inputs={}, seed=0, out=folder))
    return expert


def test_agrees_with_a_scikit_learn_pipeline(data: TrainingData, tmp_path: Path) -> None:
    expert = fit(data, tmp_path, inverse_penalty=0.5)
    cases = data.train.cases

    def table_of(cases: Cases) -> FloatArray:
        return RecordSummary(cases.feature_names, cases.static_names, STATISTICS).table(cases)

    table = table_of(cases)
    imputer = SimpleImputer(strategy="median").fit(table)
    pipeline = make_pipeline(StandardScaler(), SklearnLogisticRegression(C=0.5, max_iter=5000, tol=1e-8))
    pipeline.fit(imputer.transform(table), data.train.labels)
    held_out = make_cases(100, DRIVERS, n_times=2, missing=0.6, seed=5).cases
    expected = pipeline.predict_proba(imputer.transform(table_of(held_out)))[:, 1]
    np.testing.assert_allclose(expert.predict(held_out), expected, atol=2e-4)


def test_salience_is_the_share_of_absolute_contributions(data: TrainingData, tmp_path: Path) -> None:
    """With one column per feature, salience follows from differences of log odds alone."""
    expert = fit(data, tmp_path, summary=["mean"])
    cases = data.train.cases.select(range(20))
    contributions = np.abs(expert._contributions(cases))  # (N, F + S)
    per_feature = contributions[:, : len(cases.features)]
    np.testing.assert_allclose(expert.salience(cases), per_feature / per_feature.sum(axis=1, keepdims=True))


def test_what_training_always_had_is_average_where_it_is_missing(tmp_path: Path) -> None:
    """The sick are measured more often, and nobody less than twice: never measured is not healthier than that."""
    labelled = more_often_measured_if_dying()
    cases, labels = labelled.cases, labelled.labels
    expert = fit(make_training_data(labelled, 0), tmp_path, inverse_penalty=1.0)
    assert expert.predict(cases)[labels == 0].mean() < 0.1
    hidden = cases.with_items(
        [replace(c, values=np.where([True, False], np.nan, c.values).astype(np.float32)) for c in cases]
    )
    assert expert.predict(hidden).mean() == pytest.approx(0.5, abs=0.1)
    table = expert.summary.table(cases)
    lactate_unmeasured = np.isnan(table[:, 5])
    assert lactate_unmeasured.any()  # a feature that some lack: its count of 0 is read as before
    np.testing.assert_array_equal(expert._filled(table)[lactate_unmeasured, 9], 0.0)
    expert.save(tmp_path)
    np.testing.assert_array_equal(
        LogisticRegression.load(expert.params, tmp_path).predict(hidden), expert.predict(hidden)
    )


def test_too_few_iterations_are_said(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did not converge"):
        fit(data, tmp_path, max_iterations=1)
