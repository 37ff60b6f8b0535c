"""NEWS2 against scores worked out by hand from the chart of the Royal College of Physicians (2017)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from builders import make_case, make_cases, make_cohort_cases, make_training_data
from eagbench.api import Case, LabelledCases, StageRun, TrainingData, UserError
from eagbench.config.settings import RecordTextParams
from eagbench.prompting.record import RecordText
from eagbench_plugins.experts.clinical_score import NEWS2_FEATURES, ClinicalScore, news2_points
from eagbench_plugins.experts.gradient_boosting import LightGBM
from eagbench_plugins.experts.gru import GRU
from eagbench_plugins.experts.logistic_regression import LogisticRegression as LogisticRegressionExpert

NORMAL = {
    "respiratory_rate": 16.0,
    "oxygen_saturation": 98.0,
    "fraction_inspired_oxygen": 21.0,
    "systolic_blood_pressure": 120.0,
    "heart_rate": 70.0,
    "temperature": 37.0,
    "gcs_total": 15.0,
}


def case(case_id: str = "case-0", time: float = 40.0, **changes: float) -> Case:
    """Normal observations with some changes, all at one time."""
    values = NORMAL | changes
    return make_case({name: [value] for name, value in values.items()}, times=[time], case_id=case_id)


def score(some: Case) -> float:
    return float(news2_points(some, 48.0).sum())


# The chart's bands, each by its two ends, in the chart's order.
CHART = {
    "respiratory_rate": [(3, 1, 8), (1, 9, 11), (0, 12, 20), (2, 21, 24), (3, 25, 60)],
    "oxygen_saturation": [(3, 50, 91), (2, 92, 93), (1, 94, 95), (0, 96, 100)],
    "fraction_inspired_oxygen": [(0, 21, 21), (2, 22, 100)],
    "systolic_blood_pressure": [(3, 40, 90), (2, 91, 100), (1, 101, 110), (0, 111, 219), (3, 220, 300)],
    "heart_rate": [(3, 20, 40), (1, 41, 50), (0, 51, 90), (1, 91, 110), (2, 111, 130), (3, 131, 250)],
    "temperature": [(3, 30.0, 35.0), (1, 35.1, 36.0), (0, 36.1, 38.0), (1, 38.1, 39.0), (2, 39.1, 42.0)],
    "gcs_total": [(3, 3, 14), (0, 15, 15)],
}


@pytest.mark.parametrize("name", CHART)
def test_the_chart(name: str) -> None:
    for points, *ends in CHART[name]:
        for value in ends:
            assert score(case(**{name: value})) == points, value


def test_the_points_of_all_parameters_are_added_up() -> None:
    worst = {"respiratory_rate": 30, "oxygen_saturation": 80, "fraction_inspired_oxygen": 60}
    worst |= {"systolic_blood_pressure": 70, "heart_rate": 150, "temperature": 34, "gcs_total": 6}
    assert score(case()) == 0
    assert score(case(**worst)) == 3 + 3 + 2 + 3 + 3 + 3 + 3 == 20


def test_the_worst_value_of_the_last_24_hours_counts() -> None:
    rates = make_case({"heart_rate": [150.0, 72.0, 115.0, 45.0]}, times=[23.0, 24.0, 30.0, 47.0])
    assert score(rates) == 2  # 115 earns 2, 45 earns 1; 150 was too early
    assert float(news2_points(rates, 47.0).sum()) == 3


def test_what_is_missing_is_normal() -> None:
    nan = float("nan")
    assert score(make_case({"heart_rate": [nan], "lactate": [9.0]}, times=[40.0])) == 0
    assert score(make_case({"heart_rate": []}, times=[])) == 0
    assert score(make_case({"temperature": [nan, 40.0]}, times=[30.0, 40.0])) == 2


def test_blood_gas_saturation_stands_in_for_pulse_oximetry_only_where_there_is_none() -> None:
    assert score(case(arterial_oxygen_saturation=85.0)) == 0
    assert score(case(oxygen_saturation=float("nan"), arterial_oxygen_saturation=93.0)) == 2


def test_parts_of_the_coma_scale_stand_in_for_its_total() -> None:
    parts = {"gcs_eye": 4.0, "gcs_verbal": 1.0, "gcs_motor": 5.0}
    assert score(case(**parts)) == 0  # the total says 15
    points = dict(zip(NEWS2_FEATURES, news2_points(case(gcs_total=float("nan"), **parts), 48.0), strict=True))
    assert {name: value for name, value in points.items() if value} == {"gcs_verbal": 1.5, "gcs_motor": 1.5}


def data(n_cases: int = 200) -> LabelledCases:
    """Cases whose heart rate drives the outcome."""
    rng = np.random.default_rng(0)
    rates = rng.uniform(50, 160, n_cases)
    labels = (rng.random(n_cases) < 1 / (1 + np.exp(-(rates - 110) / 15))).astype(np.int64)
    items = [case(f"case-{n}", heart_rate=float(rate)) for n, rate in enumerate(rates)]
    return LabelledCases(make_cohort_cases(items, tuple(NORMAL)), labels)


def fit(training: TrainingData, folder: Path) -> ClinicalScore:
    expert = ClinicalScore(ClinicalScore.Params())
    expert.fit(training, StageRun(params={}, inputs={}, seed=0, out=folder))
    return expert


def test_the_probability_is_scikit_learns_of_the_score_in_training_cases_alone(tmp_path: Path) -> None:
    training = make_training_data(data(), 50)
    expert = fit(training, tmp_path)
    scores = np.array([[score(some)] for some in training.train.cases])
    model = LogisticRegression(tol=1e-8, max_iter=1000).fit(scores, training.train.labels)
    asked = training.tuning.cases
    expected = model.predict_proba(np.array([[score(some)] for some in asked]))[:, 1]
    np.testing.assert_allclose(expert.predict(asked), expected, rtol=1e-9)
    flipped = TrainingData(training.train, LabelledCases(asked, 1 - training.tuning.labels))
    np.testing.assert_array_equal(fit(flipped, tmp_path).predict(asked), expert.predict(asked))


def test_salience_is_the_share_of_points_and_equal_without_any(tmp_path: Path) -> None:
    expert = fit(make_training_data(data(), 50), tmp_path)
    names = (*NORMAL, "lactate")
    nan = float("nan")
    items = [
        case("a", heart_rate=135.0, respiratory_rate=10.0, lactate=2.0),
        case("b", gcs_total=nan, temperature=nan, lactate=2.0),
    ]
    salience = dict(zip("ab", expert.salience(make_cohort_cases(items, names)), strict=True))
    assert salience["a"][names.index("heart_rate")] == pytest.approx(3 / 4)
    assert salience["a"][names.index("respiratory_rate")] == pytest.approx(1 / 4)
    # The score does not read lactate.
    observed = [name not in ("gcs_total", "temperature", "lactate") for name in names]
    np.testing.assert_allclose(salience["b"], np.array(observed) / sum(observed))


def test_the_score_reads_what_its_training_had(tmp_path: Path) -> None:
    """Another hospital's record may hold vital signs that were not there when the slope was fitted."""
    names = ("respiratory_rate", "lactate")
    training = make_training_data(data(), 50)

    def fewer(part: LabelledCases) -> LabelledCases:
        items = [replace(c, features=names, values=c.values_in_order(names)) for c in part.cases]
        return LabelledCases(make_cohort_cases(items, names), part.labels)

    expert = fit(TrainingData(fewer(training.train), fewer(training.tuning)), tmp_path)
    asked = case("a", heart_rate=135.0, respiratory_rate=10.0, lactate=2.0)
    whole = make_cohort_cases([asked], (*NORMAL, "lactate"))
    alone = make_cohort_cases([replace(asked, features=names, values=asked.values_in_order(names))], names)
    np.testing.assert_array_equal(expert.predict(whole), expert.predict(alone))
    salience = dict(zip(whole.feature_names, expert.salience(whole)[0], strict=True))
    assert salience["respiratory_rate"] == 1.0
    expert.save(tmp_path)
    loaded = ClinicalScore.load(expert.params, tmp_path)
    np.testing.assert_array_equal(loaded.predict(whole), expert.predict(alone))


def with_score(labelled: LabelledCases, seed: int = 0) -> LabelledCases:
    """The same cases with a SAPS-I that the outcome depends on, unknown for every tenth."""
    rng = np.random.default_rng(seed)
    points = np.where(
        np.arange(len(labelled)) % 10, 10 + 3 * labelled.labels + rng.integers(0, 6, len(labelled)), np.nan
    )
    items = [
        replace(case, static={**case.static, "score_saps_i": float(value)})
        for case, value in zip(labelled.cases, points, strict=True)
    ]
    return LabelledCases(labelled.cases.with_items(items), labelled.labels)


def test_a_score_that_came_with_the_data(tmp_path: Path) -> None:
    labelled = with_score(make_cases(200, {"lactate": 1.0}))
    training = make_training_data(labelled, 50)
    expert = ClinicalScore(ClinicalScore.Params(score="saps_i"))
    expert.fit(training, StageRun(params={}, inputs={}, seed=0, out=tmp_path))
    points = np.array([case.static["score_saps_i"] for case in labelled.cases])
    points = np.where(np.isnan(points), np.nanmedian(points[:150]), points)[:, None]
    model = LogisticRegression(tol=1e-8, max_iter=1000).fit(points[:150], labelled.labels[:150])
    expected = model.predict_proba(points[150:])[:, 1]
    np.testing.assert_allclose(expert.predict(training.tuning.cases), expected, rtol=1e-9)
    expert.save(tmp_path)
    loaded = ClinicalScore.load(expert.params, tmp_path)
    np.testing.assert_array_equal(loaded.predict(training.tuning.cases), expert.predict(training.tuning.cases))
    np.testing.assert_allclose(loaded.salience(training.tuning.cases).sum(axis=1), 1.0)
    with pytest.raises(UserError, match="'sofa'"):
        ClinicalScore(ClinicalScore.Params(score="sofa")).fit(
            training, StageRun(params={}, inputs={}, seed=0, out=tmp_path)
        )


@pytest.mark.parametrize("kind", [LogisticRegressionExpert, LightGBM, GRU], ids=lambda kind: kind.name)
def test_no_other_expert_reads_it(kind: Any, tmp_path: Path) -> None:
    plain = make_cases(80, {"lactate": 1.0})
    answers = []
    for labelled in (plain, with_score(plain)):
        expert = kind(kind.Params(**({"epochs": 1, "periods": 2, "hidden_dim": 4} if kind is GRU else {})))
        (tmp_path / str(len(answers))).mkdir()
        run = StageRun(params={}, inputs={}, seed=0, out=tmp_path / str(len(answers)))
        expert.fit(make_training_data(labelled, 10), run)
        answers.append(expert.predict(labelled.cases))
    np.testing.assert_array_equal(*answers)


def test_it_stands_in_no_prompt() -> None:
    plain = make_cases(3, {"lactate": 1.0})
    for values in ("raw", "quantile"):
        texts = []
        for cases in (plain.cases, with_score(plain).cases):
            text = RecordText(RecordTextParams(values=values)).fit(cases)
            texts.append([text.render(case, cases) for case in cases])
        assert texts[0] == texts[1]


def test_a_data_set_without_any_of_its_vital_signs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the score 'news2'"):
        fit(make_training_data(make_cases(60, {"lactate": 1.0}), 10), tmp_path)
