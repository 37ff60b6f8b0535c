from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from builders import make_cases, make_training_data
from eagbench.api import StageRun, TrainingData, UserError
from eagbench.config.loading import load_benchmark
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.code_versions import CodeVersion
from eagbench.registry.plugins import load_registry
from eagbench_plugins.experts import ensemble as ensemble_module
from eagbench_plugins.experts.ensemble import Ensemble
from eagbench_plugins.experts.gradient_boosting import LightGBM
from eagbench_plugins.experts.logistic_regression import LogisticRegression

DRIVERS = {"lactate": 2.0, "urea": -1.5}
FEW_TREES = {"name": "lightgbm", "n_estimators": 20}


def fit(data: TrainingData, folder: Path, *members: Any) -> Ensemble:
    expert = Ensemble(Ensemble.Params(members=members))
    expert.fit(data, StageRun(params={}, inputs={}, seed=7, out=folder))
    return expert


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return make_training_data(make_cases(200, DRIVERS, seed=1), 50)


def test_it_is_the_mean_of_its_members(data: TrainingData, tmp_path: Path) -> None:
    expert = fit(data, tmp_path, "logistic_regression", FEW_TREES)
    members = [LogisticRegression(LogisticRegression.Params()), LightGBM(LightGBM.Params(n_estimators=20))]
    for number, member in enumerate(members):
        seed = ensemble_module._seed(7, number)
        member.fit(data, StageRun(params={}, inputs={}, seed=seed, out=tmp_path))
    cases = data.tuning.cases
    first, second = members
    np.testing.assert_array_equal(expert.predict(cases), (first.predict(cases) + second.predict(cases)) / 2)
    np.testing.assert_allclose(
        expert.salience(cases), (first.salience(cases) + second.salience(cases)) / 2, rtol=1e-12, atol=0
    )


def test_the_drivers_are_on_top(data: TrainingData, tmp_path: Path) -> None:
    salience = fit(data, tmp_path, "logistic_regression", FEW_TREES).salience(data.tuning.cases).mean(axis=0)
    assert {data.tuning.cases.feature_names[i] for i in np.argsort(-salience)[:2]} == set(DRIVERS)


def test_a_member_named_twice_is_fitted_twice(data: TrainingData, tmp_path: Path) -> None:
    expert = fit(data, tmp_path, FEW_TREES, FEW_TREES)
    first, second = (member.predict(data.tuning.cases) for member in expert.members)
    assert not np.array_equal(first, second)


def test_members_lie_in_folders_of_their_own_and_an_ensemble_may_be_one(data: TrainingData, tmp_path: Path) -> None:
    expert = fit(data, tmp_path, FEW_TREES, {"name": "ensemble", "members": ["logistic_regression", FEW_TREES]})
    saved = tmp_path / "saved"
    saved.mkdir()
    expert.save(saved)
    written = {str(path.relative_to(saved)) for path in saved.rglob("*") if path.is_file()}
    assert {"0_lightgbm/lightgbm.txt", "1_ensemble/0_logistic_regression/logistic_regression.safetensors"} <= written
    loaded = Ensemble.load(expert.params, saved)
    np.testing.assert_array_equal(loaded.predict(data.tuning.cases), expert.predict(data.tuning.cases))


@pytest.mark.parametrize("members", [[], [{"n_estimators": 3}], [3]])
def test_what_names_no_member_is_refused(members: list[Any]) -> None:
    with pytest.raises(ValidationError):
        Ensemble.Params.model_validate({"members": members})


def planned(tmp_path: Path, root: Path, members: list[Any]) -> Plan:
    tree = {
        "name": "ensemble",
        "data": {"name": "physionet2012", "root": str(root)},
        "methods": [{"name": "ensemble", "members": members}],
        "metrics": ["auroc"],
    }
    path = tmp_path / "benchmark.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return make_plan(load_benchmark(path), load_registry(), Store.open(tmp_path / "store"))


def test_the_plan_checks_members_and_says_where(tmp_path: Path, physionet_root: Path) -> None:
    for wrong, what in (
        ({"name": "lightgbn"}, "lightgbn"),
        ({"name": "lightgbm", "trees": 3}, "trees"),
        ("no_such_expert", "no_such_expert"),
    ):
        with pytest.raises(UserError, match=what) as refused:
            planned(tmp_path, physionet_root, ["logistic_regression", wrong])
        assert "benchmark.yaml" in str(refused.value)


def test_the_members_code_is_part_of_the_fingerprint(
    tmp_path: Path, physionet_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member may come from another package than the ensemble: its code counts."""

    def fingerprint() -> str:
        [expert] = [n for n in planned(tmp_path, physionet_root, ["lightgbm"]).nodes if n.kind == "expert"]
        return expert.fingerprint

    before = fingerprint()
    assert fingerprint() == before
    from eagbench.planning import stage_graph as plan_module

    real = plan_module.code_version

    def changed(*modules: str) -> CodeVersion:
        found = real(*modules)
        return replace(found, version="changed") if modules[0] == LightGBM.__module__ else found

    monkeypatch.setattr(plan_module, "code_version", changed)
    assert fingerprint() != before
