"""All that plugins are given is read-only: one that writes fails its own cells, no other number moves."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from eagbench.api import Case, LabelledCases, Prediction, ScoredCases, SearchTask, Trajectory
from eagbench.contracts.components import Reward, Search
from eagbench.contracts.rules import ContractError
from eagbench.registry.guards import GuardedReward, GuardedSearch
from eagbench.testing.cases import labelled_cases
from tests.conftest import Finished

PLUGIN = """
import numpy as np

from eagbench.api import (
    ExpertTraits, MethodTraits, MetricTraits, PerturbationTraits, Prediction, StrictParams, hookimpl, save_arrays
)


class Component:
    class Params(StrictParams):
        pass

    def __init__(self, params):
        self.params = params


class Cheat(Component):
    name = "cheat"
    traits = MetricTraits(better="higher", reads_probability=True)

    def __call__(self, scored, weights):
        scored.probability[:] = scored.label
        return np.ones(len(weights))


class Heavy(Component):
    name = "heavy"
    traits = MetricTraits(better="higher")

    def __call__(self, scored, weights):
        weights *= scored.label
        return np.ones(len(weights))


class Orders(Component):
    name = "orders"
    traits = MetricTraits(better="higher")

    def __call__(self, scored, weights):
        scored.label.sort()
        return np.ones(len(weights))


class Relabels(Component):
    name = "relabels"
    traits = ExpertTraits()

    def fit(self, data, run):
        data.train.labels[:] = 1

    def predict(self, cases):
        return np.full(len(cases), 0.5)

    def salience(self, cases):
        return np.full((len(cases), len(cases.features)), 1 / len(cases.features))

    def save(self, folder):
        save_arrays(folder, {})

    @classmethod
    def load(cls, params, folder):
        return cls(params)


class Ages(Component):
    name = "ages"
    traits = MethodTraits(reads="columns")

    def stages(self, plan):
        return {}

    def predict(self, cases, run):
        for case in cases:
            case.static["age"] = 100.0
        return [Prediction(case.case_id, 0.5, "model") for case in cases]


class InPlace(Component):
    name = "in_place"
    traits = PerturbationTraits(levels=(0.1, 0.2, 0.3, 0.4, 0.5))

    def check_severity(self, severity):
        pass

    def fit(self, cases):
        pass

    def apply(self, case, severity, seed):
        case.values[:] = np.nan
        return case


@hookimpl
def register_metrics(register):
    for metric in (Cheat, Heavy, Orders):
        register(metric)


@hookimpl
def register_experts(register):
    register(Relabels)


@hookimpl
def register_methods(register):
    register(Ages)


@hookimpl
def register_perturbations(register):
    register(InPlace)
"""


def plugin_package(folder: Path) -> dict[str, str]:
    """Lay out an installed package whose components write; return the variables that add it."""
    (folder / "writing_plugin.py").write_text(PLUGIN)
    facts = folder / "writing-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: writing\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[eagbench]\nwriting = writing_plugin\n")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def test_plugins_that_write_fail_alone_by_name_and_change_no_number(
    run_command: Callable[..., Finished], tmp_path: Path, physionet_root: Path
) -> None:
    (tmp_path / "site").mkdir()
    env = {**plugin_package(tmp_path / "site"), "EAGBENCH_STORE": str(tmp_path / "store")}

    def run(name: str, methods: str, conditions: str, metrics: str) -> tuple[Finished, pd.DataFrame]:
        (tmp_path / f"{name}.yaml").write_text(
            f"name: {name}\ndata: {{name: physionet2012, root: '{physionet_root}'}}\n"
            "split: {train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}\n"
            f"methods: {methods}\nconditions: {conditions}\nmetrics: {metrics}\n"
            "intervals: {resamples: 100}\nseeds: [0]\n"
        )
        command = ("run", tmp_path / f"{name}.yaml", "--limit", 120, "--out", tmp_path / name, "--quiet")
        finished = run_command(*command, env=env)
        assert finished.code < 2, finished.err
        return finished, pd.read_csv(tmp_path / name / "results.csv", dtype=str)

    alone, expected = run("alone", "[logistic_regression]", "[clean]", "[auroc, brier]")
    assert alone.code == 0, alone.err
    finished, rows = run(
        "among",
        "[logistic_regression, relabels, ages]",
        "[clean, {name: in_place, severity: [0.2]}]",
        "[cheat, heavy, orders, auroc, brier]",
    )
    assert finished.code == 1, finished.err
    for kind, component, hook, call, problem in (
        ("metric", "cheat", "metrics", "__call__", "assignment destination is read-only"),
        ("metric", "heavy", "metrics", "__call__", "output array is read-only"),
        ("metric", "orders", "metrics", "__call__", "sort array is read-only"),
        ("expert", "relabels", "experts", "fit", "assignment destination is read-only"),
        ("method", "ages", "methods", "predict", "'mappingproxy' object does not support item assignment"),
        ("perturbation", "in_place", "perturbations", "apply", "assignment destination is read-only"),
    ):
        named = f"the {kind} '{component}' of writing 1.0 (plugin writing, register_{hook}) breaks its contract in"
        assert f"{named} {call}, inputs: {problem} (writing_plugin.py, line " in finished.out, finished.out
    mine = (rows.method == "logistic_regression") & (rows.condition == "clean")
    kept = rows[mine & rows.metric.isin(expected.metric)]
    columns = [column for column in expected if column != "benchmark"]
    pd.testing.assert_frame_equal(kept[columns].reset_index(drop=True), expected[columns].reset_index(drop=True))
    bad = rows[~rows.index.isin(kept.index)]
    assert set(bad.status) == {"failed"}


def a_case() -> Case:
    return cast(Case, labelled_cases(5).cases[0])


def test_arrays_and_mappings_refuse_to_be_written() -> None:
    case = a_case()
    scored = ScoredCases(
        np.array([0.2, 0.8]),
        np.array([0, 1]),
        np.array([True, True]),
        attention=({"lactate": 1.0}, None),
        salience=({"lactate": 1.0}, {}),
        columns={"cost": np.array([1.0, 2.0])},
    )
    for array in (
        case.values,  # noqa: PD011 - not a data frame
        case.times,
        scored.probability,
        scored.label,
        scored.parsed,
        scored.columns["cost"],
        scored.select([0]).probability,
        labelled_cases(5).labels,
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    trajectory = Trajectory("1", "", (), None, 0, 0.5, 1, attention={"lactate": 1.0})
    task = SearchTask(case, "", lambda t: {"total": 0.0}, salience={"lactate": 1.0})
    assert scored.attention is not None
    assert scored.salience is not None
    for mapping in (
        case.static,
        case.renderings,
        scored.columns,
        scored.attention[0],
        scored.salience[0],
        trajectory.attention,
        task.salience,
        Prediction("1", 0.5, "model", extras={"cost": 1.0}).extras,
    ):
        with pytest.raises(TypeError, match="mappingproxy"):
            cast(Any, mapping)["age"] = 0
    assert trajectory.as_json()["attention"] == {"lactate": 1.0}
    assert type(trajectory.as_json()["attention"]) is dict


def test_the_makers_own_array_stays_writable_and_nothing_is_copied() -> None:
    labels = np.zeros(5, int)
    labelled = LabelledCases(labelled_cases(5).cases, labels)
    assert np.shares_memory(labelled.labels, labels)
    labels[0] = 1
    assert labelled.labels[0] == 1


def test_cases_can_be_pickled_and_copied() -> None:
    case = a_case()
    for again in (pickle.loads(pickle.dumps(case)), copy.deepcopy(case)):
        assert dict(again.static) == dict(case.static)
        np.testing.assert_array_equal(again.values, case.values)


def test_a_reward_and_a_search_that_write_are_named() -> None:
    def reward(case: Any, label: Any, trajectory: Any, salience: Any) -> Any:
        salience["lactate"] = 2.0

    case, salience = a_case(), {"lactate": 1.0}
    answer = Trajectory(case.case_id, "", (), None, 0, 0.5, 1)
    with pytest.raises(ContractError, match=r"the reward 'r' breaks its contract in .*, inputs: 'mappingproxy' object"):
        GuardedReward(cast(Reward, reward), "the reward 'r'")(case, 1, answer, salience)
    assert salience == {"lactate": 1.0}

    class Worst:
        def run(self, model: Any, tasks: Any, read: Any, token_budget: int, seed: int) -> Any:
            tasks[0].case.times[:] = 0

    search = GuardedSearch(cast(Search, Worst()), "the search 's'")
    with pytest.raises(ContractError, match="the search 's' breaks its contract in run, inputs: assignment dest"):
        search.run(cast(Any, SimpleNamespace()), [SearchTask(case, "", lambda t: {"total": 0.0})], answer_of, 10, 0)


def answer_of(*_: Any) -> Any:
    raise AssertionError


def test_what_a_search_does_to_a_rewards_parts_does_not_reach_the_reward() -> None:
    kept = {"total": 1.0}
    guarded = GuardedReward(cast(Reward, lambda *_: kept), "the reward 'r'")
    case = a_case()
    parts = guarded(case, 1, Trajectory(case.case_id, "", (), None, 0, 0.5, 1), None)
    cast(Any, parts)["total"] = 5.0
    assert kept == {"total": 1.0}


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_pytorch_writes_through_read_only_arrays() -> None:
    """The limit of the flag (docs/pitfalls.md); fails once PyTorch keeps to it."""
    torch = pytest.importorskip("torch")
    array = np.zeros(2)
    array.setflags(write=False)
    torch.from_numpy(array)[0] = 1.0
    torch.tensor(array)[1] = 1.0  # a copy
    assert array.tolist() == [1.0, 0.0]
