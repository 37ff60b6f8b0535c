"""A value that is missing only at prediction: no boosting library learned a rule for it, so each makes one up.

Low pressures and high lactates are dangerous here, and every training record has both. Read as 0 a hidden pressure is
shock; read as very large a hidden lactate is extreme.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from builders import make_case, make_cohort_cases
from eagbench.api import Cases, Expert, LabelledCases, StageRun, TrainingData
from eagbench.stages.salience import cross_fitted, read_cross_fitted_probability
from eagbench_plugins.experts.extreme_gradient_boosting import XGBoost
from eagbench_plugins.experts.gradient_boosting import LightGBM

NAN = float("nan")
TREES = [
    LightGBM,
    pytest.param(
        XGBoost, marks=pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="an optional package")
    ),
]


def patients(n_patients: int, seed: int) -> LabelledCases:
    rng = np.random.default_rng(seed)
    pressure = rng.normal(120, 20, (n_patients, 1)) + rng.normal(0, 2, (n_patients, 3))
    lactate = rng.gamma(3.0, 0.7, (n_patients, 1)) * rng.uniform(0.95, 1.05, (n_patients, 3))
    age = np.round(rng.uniform(18, 95, n_patients))
    log_odds = (
        -3.0 + 0.15 * np.clip(110 - pressure[:, 0], 0, None) + np.clip(lactate[:, 0] - 2, 0, None) + 0.04 * (age - 60)
    )
    died = (rng.random(n_patients) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    items = [
        make_case(
            {"pressure": list(pressure[n]), "lactate": list(lactate[n])},
            case_id=f"{seed}-{n}",
            static={"age": float(age[n]), "sex": float(n % 2)},
        )
        for n in range(n_patients)
    ]
    return LabelledCases(make_cohort_cases(items, ("pressure", "lactate")), died)


def with_values(cases: Cases, feature: int, value: float) -> Cases:
    items = []
    for case in cases:
        values = case.values.copy()
        values[:, feature] = value
        items.append(replace(case, values=values))
    return cases.with_items(items)


def with_age(cases: Cases, age: float) -> Cases:
    return cases.with_items([replace(case, static={**case.static, "age": age}) for case in cases])


# How a record loses a variable, and how it would hold a number in its place: (hide, put).
CHANGES: dict[str, tuple[Callable[[Cases], Cases], Callable[[Cases, float], Cases]]] = {
    "pressure": (lambda cases: with_values(cases, 0, NAN), lambda cases, value: with_values(cases, 0, value)),
    "lactate": (lambda cases: with_values(cases, 1, NAN), lambda cases, value: with_values(cases, 1, value)),
    "age": (lambda cases: with_age(cases, NAN), with_age),
}


@pytest.fixture(scope="module")
def training() -> TrainingData:
    return TrainingData(patients(1500, 1), patients(400, 2))


@pytest.fixture(scope="module")
def asked() -> LabelledCases:
    return patients(4000, 3)


def fitted(kind: type, training: TrainingData, folder: Path, seed: int = 0, **params: object) -> Expert:
    folder.mkdir(exist_ok=True)
    expert: Expert = kind(kind.Params(learning_rate=0.1, **params))
    expert.fit(training, StageRun(params={}, inputs={}, seed=seed, out=folder))
    return expert


@pytest.mark.parametrize("variable", list(CHANGES))
@pytest.mark.parametrize("kind", TREES)
def test_hidden_is_neither_0_nor_very_large(
    kind: type, variable: str, training: TrainingData, asked: LabelledCases, tmp_path: Path
) -> None:
    hide, put = CHANGES[variable]
    expert = fitted(kind, training, tmp_path / "default")
    hidden = expert.predict(hide(asked.cases))
    for value in (0.0, 1e6):
        assert np.abs(hidden - expert.predict(put(asked.cases, value))).mean() > 0.01
    # The rest of the record decides: on the whole as many die as do, and the order is the best that is left.
    assert hidden.mean() == pytest.approx(asked.labels.mean(), abs=0.06)  # made-up rules are off by up to 0.56
    never = fitted(
        kind,
        TrainingData(
            LabelledCases(hide(training.train.cases), training.train.labels),
            LabelledCases(hide(training.tuning.cases), training.tuning.labels),
        ),
        tmp_path / "never had it",
    )
    best = roc_auc_score(asked.labels, never.predict(hide(asked.cases)))
    assert roc_auc_score(asked.labels, hidden) > best - 0.02


@pytest.mark.parametrize("kind", TREES)
def test_without_masking_each_library_makes_up_its_rule(
    kind: type, training: TrainingData, asked: LabelledCases, tmp_path: Path
) -> None:
    expert = fitted(kind, training, tmp_path, masked_share=0.0, summary=("mean",))
    made_up = 0.0 if kind is LightGBM else 1e6
    for hide, put in CHANGES.values():
        np.testing.assert_array_equal(expert.predict(hide(asked.cases)), expert.predict(put(asked.cases, made_up)))


@pytest.mark.parametrize("kind", TREES)
def test_whole_records_are_judged_as_well_as_without_masking(
    kind: type, training: TrainingData, asked: LabelledCases, tmp_path: Path
) -> None:
    auroc: dict[float, list[float]] = {0.05: [], 0.0: []}
    brier: dict[float, list[float]] = {0.05: [], 0.0: []}
    for share in auroc:
        for seed in range(3):
            probability = fitted(kind, training, tmp_path / f"{share} {seed}", seed, masked_share=share).predict(
                asked.cases
            )
            auroc[share].append(roc_auc_score(asked.labels, probability))
            brier[share].append(float(np.mean((probability - asked.labels) ** 2)))
    assert np.mean(auroc[0.05]) > np.mean(auroc[0.0]) - 0.005
    assert np.mean(brier[0.05]) < np.mean(brier[0.0]) + 0.005


def test_cross_fitting_masks_each_part_of_the_training_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    fit = LightGBM.fit

    def watched(self: LightGBM, data: TrainingData, run: StageRun) -> None:
        fit(self, data, run)
        table = self.summary.table(data.train.cases)
        alone = with_age(data.train.cases.select([0]), NAN)
        seen.append((len(table), int(self.predict(alone)[0] == self.predict(with_age(alone, 0.0))[0])))

    monkeypatch.setattr(LightGBM, "fit", watched)
    training = TrainingData(patients(800, 1), patients(150, 2))
    params = LightGBM.Params(learning_rate=0.1)
    run = StageRun({"folds": 3}, {"training": training}, 0, tmp_path, LightGBM(params), params)
    cross_fitted(run)
    assert [same for _, same in seen] == [0, 0, 0]
    assert len(read_cross_fitted_probability(tmp_path)) == 800
