"""What every built-in expert has to do, on cases with known drivers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from builders import make_case, make_cases, make_cohort_cases, make_training_data
from eagbench.api import Case, Cases, Expert, LabelledCases, StageRun, TrainingData, UserError
from eagbench_plugins.experts import plugin
from eagbench_plugins.experts.adacare import AdaCare
from eagbench_plugins.experts.channels import Channels
from eagbench_plugins.experts.concare import ConCare
from eagbench_plugins.experts.ensemble import Ensemble
from eagbench_plugins.experts.extreme_gradient_boosting import XGBoost
from eagbench_plugins.experts.gradient_boosting import LightGBM
from eagbench_plugins.experts.gru import GRU
from eagbench_plugins.experts.gru_d import GRUD
from eagbench_plugins.experts.logistic_regression import LogisticRegression
from eagbench_plugins.experts.neural_expert import NeuralExpert
from eagbench_plugins.experts.retain import RETAIN
from eagbench_plugins.experts.tcn import TCN
from eagbench_plugins.experts.transformer import Transformer

DRIVERS = {"lactate": 2.0, "urea": -1.5}
NEURAL: dict[str, Any] = {"periods": 6, "hidden_dim": 16, "epochs": 12, "learning_rate": 0.01, "dropout": 0.1}
SMALL: dict[type, dict[str, Any]] = {
    LogisticRegression: {},
    LightGBM: {},
    XGBoost: {},
    ConCare: {"periods": 3, "hidden_dim": 8, "heads": 2, "epochs": 12, "learning_rate": 0.02, "dropout": 0.1},
    RETAIN: NEURAL,
    AdaCare: NEURAL | {"kernel_num": 16},
    GRU: NEURAL,
    GRUD: NEURAL,
    Transformer: NEURAL,
    TCN: NEURAL,
    Ensemble: {"members": ["logistic_regression", "lightgbm"]},
}
KINDS = list(SMALL)
N_TRAIN, N_TUNING = 500, 150


def fit(kind: type, data: TrainingData, folder: Path, seed: int = 0, **params: Any) -> Expert:
    expert: Expert = kind(kind.Params(**(SMALL[kind] | params)))
    folder.mkdir(parents=True, exist_ok=True)
    expert.fit(data, StageRun(params={}, inputs={}, seed=seed, out=folder))
    return expert


def files(expert: Expert, folder: Path) -> dict[str, bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    expert.save(folder)
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return make_training_data(make_cases(N_TRAIN + N_TUNING, DRIVERS, seed=1), N_TUNING)


@pytest.fixture(scope="module")
def test_cases() -> LabelledCases:
    return make_cases(400, DRIVERS, seed=2)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type:
    return request.param


@pytest.fixture(scope="module")
def expert(kind: type, data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Expert:
    return fit(kind, data, tmp_path_factory.mktemp("fit"))


def assert_keeps_the_contract(salience: np.ndarray, cases: Cases) -> None:
    assert salience.shape == (len(cases), len(cases.features))
    assert np.isfinite(salience).all()
    assert (salience >= 0).all()
    np.testing.assert_allclose(salience.sum(axis=1), 1.0, atol=1e-9)


def test_registered_by_name() -> None:
    registered: list[type] = []
    plugin.register_experts(registered.append)
    by_name = {kind.name: kind for kind in registered}
    assert len(by_name) == len(registered)
    assert all(by_name[kind.name] is kind for kind in KINDS)
    assert all(isinstance(kind(kind.Params()), Expert) for kind in registered)


def test_finds_the_drivers(expert: Expert, test_cases: LabelledCases) -> None:
    probability = expert.predict(test_cases.cases)
    assert probability.shape == (400,)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert roc_auc_score(test_cases.labels, probability) > 0.8
    salience = expert.salience(test_cases.cases)
    assert_keeps_the_contract(salience, test_cases.cases)
    top = np.argsort(-salience.mean(axis=0))[:2]
    assert {test_cases.cases.feature_names[i] for i in top} == set(DRIVERS)


def share_of_drivers(expert: Expert, cases: Cases) -> float:
    mean = expert.salience(cases).mean(axis=0)
    return float(sum(mean[cases.feature_names.index(name)] for name in DRIVERS))


def test_random_labels_teach_nothing(kind: type, expert: Expert, test_cases: LabelledCases, tmp_path: Path) -> None:
    train = make_cases(N_TRAIN + N_TUNING, DRIVERS, seed=1, random_labels=True)
    taught_nothing = fit(kind, make_training_data(train, N_TUNING), tmp_path)
    probability = taught_nothing.predict(test_cases.cases)
    # Three standard errors of an AUROC of 0.5 with 400 cases come to less than 0.1; a model that had the drivers by
    # chance in part may lie on either side of it.
    assert abs(roc_auc_score(test_cases.labels, probability) - 0.5) < 0.2
    # Salience that stood on a model's initial weights or on the features' scales would be the same for any labels.
    assert share_of_drivers(taught_nothing, test_cases.cases) < share_of_drivers(expert, test_cases.cases) - 0.2


def test_saved_and_loaded_it_answers_to_the_bit(
    kind: type, expert: Expert, test_cases: LabelledCases, tmp_path: Path
) -> None:
    written = files(expert, tmp_path / "a")
    loaded = kind.load(expert.params, tmp_path / "a")
    np.testing.assert_array_equal(loaded.predict(test_cases.cases), expert.predict(test_cases.cases))
    np.testing.assert_array_equal(loaded.salience(test_cases.cases), expert.salience(test_cases.cases))
    assert files(loaded, tmp_path / "b") == written
    assert not any(name.endswith((".pkl", ".pickle", ".pt", ".joblib")) for name in written)


def test_the_same_seed_gives_the_same_bytes(kind: type, data: TrainingData, expert: Expert, tmp_path: Path) -> None:
    again = fit(kind, data, tmp_path / "fit")
    assert files(again, tmp_path / "again") == files(expert, tmp_path / "first")


def test_another_seed_gives_another_model(kind: type, data: TrainingData, expert: Expert, tmp_path: Path) -> None:
    if kind is LogisticRegression:
        pytest.skip("nothing is drawn: the optimum is unique")
    other = fit(kind, data, tmp_path / "fit", seed=1, **({"epochs": 1} if issubclass(kind, NeuralExpert) else {}))
    assert files(other, tmp_path / "other") != files(expert, tmp_path / "first")


def in_another_order(case: Case) -> Case:
    order = np.random.default_rng(len(case.case_id) + int(case.case_id[5:])).permutation(len(case.features))
    return replace(case, features=tuple(case.features[i] for i in order), values=case.values[:, order])


def test_the_order_in_which_records_list_features_is_immaterial(
    kind: type, data: TrainingData, expert: Expert, test_cases: LabelledCases, tmp_path: Path
) -> None:
    def reordered(labelled: LabelledCases) -> LabelledCases:
        items = [in_another_order(case) for case in labelled.cases]
        assert any(case.features != labelled.cases.feature_names for case in items)
        return LabelledCases(labelled.cases.with_items(items), labelled.labels)

    other = fit(kind, TrainingData(reordered(data.train), reordered(data.tuning)), tmp_path / "fit")
    assert files(other, tmp_path / "other") == files(expert, tmp_path / "first")
    shuffled = reordered(test_cases).cases
    np.testing.assert_array_equal(expert.predict(shuffled), expert.predict(test_cases.cases))
    np.testing.assert_array_equal(expert.salience(shuffled), expert.salience(test_cases.cases))


def test_another_cohort_with_other_features_in_another_order(expert: Expert, test_cases: LabelledCases) -> None:
    """Across hospitals: features are met by name, unknown ones have no weight, absent ones count as missing."""
    cases = test_cases.cases
    names = ("new", *reversed(cases.feature_names[:-1]))  # the last noise feature is absent
    items = [
        Case(
            case.case_id,
            case.patient_id,
            names,
            case.times,
            np.hstack([np.ones((len(case.times), 1), np.float32), case.values[:, -2::-1]]),
            case.static,
        )
        for case in cases
    ]
    other = make_cohort_cases(items, names)
    salience = expert.salience(other)
    assert_keeps_the_contract(salience, other)
    np.testing.assert_array_equal(salience[:, 0], 0.0)
    without_last = [replace(case, values=np.where(np.arange(6) == 5, np.nan, case.values)) for case in cases]
    absent = expert.predict(cases.with_items(without_last))
    np.testing.assert_array_equal(expert.predict(other), absent)


def test_odd_cases_keep_the_contract(expert: Expert, data: TrainingData) -> None:
    names = data.train.cases.feature_names
    nothing = make_case({name: [np.nan, np.nan] for name in names}, case_id="nothing", static={})
    no_times = make_case({name: [] for name in names}, case_id="no times")
    constant = make_case({name: [10.0] for name in names}, case_id="constant")
    extreme = make_case({name: [1e6, -1e6] for name in names}, case_id="extreme")
    cases = make_cohort_cases([nothing, no_times, constant, extreme], names)
    for some in (cases, *(cases.select([n]) for n in range(4)), cases.select([])):
        probability = expert.predict(some)
        assert probability.shape == (len(some),)
        assert ((probability >= 0) & (probability <= 1)).all()
        assert_keeps_the_contract(expert.salience(some), some)


def test_a_case_is_answered_alike_alone_and_among_others(expert: Expert, test_cases: LabelledCases) -> None:
    together = expert.predict(test_cases.cases)
    alone = [expert.predict(test_cases.cases.select([n]))[0] for n in range(5)]
    np.testing.assert_allclose(alone, together[:5], rtol=1e-5)


def test_training_on_features_that_never_vary_or_were_never_measured(kind: type, tmp_path: Path) -> None:
    labelled = make_cases(60, DRIVERS, n_noise=2)
    values = [case.values.copy() for case in labelled.cases]
    for table in values:
        table[:, 2] = 7.0
        table[:, 3] = np.nan
    items = [replace(case, values=table) for case, table in zip(labelled.cases, values, strict=True)]
    labelled = LabelledCases(labelled.cases.with_items(items), labelled.labels)
    expert = fit(kind, make_training_data(labelled, 10), tmp_path)
    assert_keeps_the_contract(expert.salience(labelled.cases), labelled.cases)
    assert np.isfinite(expert.predict(labelled.cases)).all()


def test_training_without_static_facts(kind: type, tmp_path: Path) -> None:
    labelled = make_cases(60, DRIVERS)
    bare = make_cohort_cases([replace(case, static={}) for case in labelled.cases], labelled.cases.feature_names, ())
    expert = fit(kind, make_training_data(LabelledCases(bare, labelled.labels), 10), tmp_path)
    assert_keeps_the_contract(expert.salience(bare), bare)


def test_one_outcome_only_is_the_user_s_to_mend(kind: type, tmp_path: Path) -> None:
    labelled = LabelledCases(make_cases(30, DRIVERS).cases, np.zeros(30, dtype=np.int64))
    with pytest.raises(UserError, match="both outcomes"):
        fit(kind, make_training_data(labelled, 5), tmp_path)


@pytest.mark.parametrize("stopping", [LightGBM, ConCare, GRUD], ids=lambda kind: kind.name)
def test_few_tuning_cases_decide_nothing(stopping: type, tmp_path: Path) -> None:
    labelled = make_cases(190, DRIVERS)
    data = make_training_data(labelled, 90)
    flipped = TrainingData(data.train, LabelledCases(data.tuning.cases, 1 - data.tuning.labels))
    fitted = [fit(stopping, some, tmp_path / name) for name, some in (("a", data), ("b", flipped))]
    assert files(fitted[0], tmp_path / "x") == files(fitted[1], tmp_path / "y")


def test_a_network_without_enough_tuning_cases_learns_from_all_training_cases(tmp_path: Path) -> None:
    """Folds inside training decide the number of epochs alone; scales and weights are those of all training cases."""
    data = make_training_data(make_cases(190, DRIVERS), 90)
    run = StageRun(params={}, inputs={}, seed=0, out=tmp_path)
    expert = ConCare(ConCare.Params(periods=3, hidden_dim=8, heads=2, epochs=12, patience=2, learning_rate=0.02))
    expert.fit(data, run)
    np.testing.assert_array_equal(expert.channels.mean, Channels.fit(data.train.cases, 3).mean)
    # The checkpoints of five folds, and of the training on all cases after them.
    found = [torch.load(path, weights_only=True)["progress"] for path in sorted(run.checkpoints.glob("**/*.pt"))]
    assert len(found) == 6
    last = next(progress for progress in found if progress["best_loss"] == float("inf"))
    best = [progress["best_epoch"] for progress in found if progress is not last]
    assert last["epoch"] == last["best_epoch"] == int(np.median(best))
    assert run.costs["epochs"] == sum(progress["epoch"] for progress in found)
    again = ConCare(expert.params)
    again.fit(data, run)  # as after a kill: every part goes on from its checkpoint, which is at its end
    np.testing.assert_array_equal(again.predict(data.train.cases), expert.predict(data.train.cases))


@pytest.mark.parametrize("stopping", [LightGBM, ConCare, GRUD], ids=lambda kind: kind.name)
def test_enough_tuning_cases_decide_when_to_stop(stopping: type, data: TrainingData, tmp_path: Path) -> None:
    flipped = TrainingData(data.train, LabelledCases(data.tuning.cases, 1 - data.tuning.labels))
    fitted = [fit(stopping, some, tmp_path / name) for name, some in (("a", data), ("b", flipped))]
    spread = [float(np.std(expert.predict(data.tuning.cases))) for expert in fitted]
    assert spread[1] < 0.6 * spread[0]  # tuning cases that contradict training stop it early
