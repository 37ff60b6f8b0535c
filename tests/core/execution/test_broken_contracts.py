"""A component that breaks its contract fails its own cells, named with plugin, hook and argument; the rest stays.

The conformance tests judge by the same rules (tests/core/testing): what they find, a run refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from eagbench.api import (
    ExpertTraits,
    MethodTraits,
    MetricTraits,
    PerturbationTraits,
    Prediction,
    Sampling,
    SearchResult,
    StrictParams,
    save_arrays,
)
from eagbench.contracts.rules import ContractError, check_files
from eagbench.registry.plugins import load_registry, registered
from tests.conftest import Finished

Cli = Callable[..., Finished]


class Component:
    class Params(StrictParams):
        pass

    def __init__(self, params: Any) -> None:
        self.params = params


class ArchiveExpert(Component):
    """Saves its arrays in an archive that may hold pickles."""

    name: ClassVar[str] = "archive"
    traits: ClassVar[ExpertTraits] = ExpertTraits()

    def fit(self, data: Any, run: Any) -> None:
        self.rate = float(data.train.labels.mean())

    def predict(self, cases: Any) -> Any:
        return np.full(len(cases), self.rate)

    def salience(self, cases: Any) -> Any:
        return np.full((len(cases), len(cases.features)), 1 / len(cases.features))

    def save(self, folder: Path) -> None:
        np.savez(folder / "rate.npz", rate=self.rate)

    @classmethod
    def load(cls, params: Any, folder: Path) -> Any:
        expert = cls(params)
        expert.rate = float(np.load(folder / "rate.npz")["rate"])
        return expert


class SureExpert(ArchiveExpert):
    """Answers with a probability of 2."""

    name: ClassVar[str] = "sure"

    def predict(self, cases: Any) -> Any:
        return np.full(len(cases), 2.0)

    def save(self, folder: Path) -> None:
        (folder / "rate.json").write_text(json.dumps(self.rate))

    @classmethod
    def load(cls, params: Any, folder: Path) -> Any:
        return cls(params)


class SearchOf(Component):
    """Writes some texts a case; each kind of fault is a subclass."""

    n_texts: ClassVar[int] = 2
    best_first: ClassVar[bool] = True

    def run(self, model: Any, tasks: Any, read: Any, token_budget: int, seed: int) -> Any:
        sampling = Sampling(max_new_tokens=token_budget // 2, temperature=1.0)
        results = []
        for task in tasks:
            texts = model.generate([task.prompt] * self.n_texts, sampling, seed)
            found = [read(task.case, text.text, text.tokens) for text in texts]
            judged = [(task.reward(trajectory), trajectory) for trajectory in found]
            judged.sort(key=lambda pair: pair[0]["total"], reverse=self.best_first)
            rewards, trajectories = zip(*judged, strict=True)
            tokens = sum(text.tokens for text in texts)
            results.append(SearchResult(task.case.case_id, trajectories, rewards, tokens))
        return results


class Spender(SearchOf):
    name: ClassVar[str] = "spender"
    n_texts: ClassVar[int] = 12


class WorstFirst(SearchOf):
    name: ClassVar[str] = "worst_first"
    best_first: ClassVar[bool] = False


class LikesNonsense(Component):
    """Pays most for what can't be read."""

    name: ClassVar[str] = "likes_nonsense"

    def __call__(self, case: Any, label: int, trajectory: Any, salience: Any) -> dict[str, float]:
        return {"total": 5.0 if trajectory.probability is None else trajectory.probability}


class Wide(Component):
    """A value for each case instead of one for each row of weights."""

    name: ClassVar[str] = "wide"
    traits: ClassVar[MetricTraits] = MetricTraits(better="higher")

    def __call__(self, scored: Any, weights: Any) -> Any:
        return weights * scored.probability


class Renames(Component):
    """Gives a changed case another id."""

    name: ClassVar[str] = "renames"
    traits: ClassVar[PerturbationTraits] = PerturbationTraits(levels=(0.1, 0.2, 0.3, 0.4, 0.5))

    def check_severity(self, severity: float) -> None:
        pass

    def fit(self, cases: Any) -> None:
        pass

    def apply(self, case: Any, severity: float, seed: int) -> Any:
        return replace(case, case_id=f"{case.case_id}-changed")


class Forgetful(Component):
    """A method that forgets the last case, and leaves a number that is none."""

    name: ClassVar[str] = "forgetful"
    traits: ClassVar[MethodTraits] = MethodTraits(reads="columns")

    class Params(StrictParams):
        extras: bool = False

    def stages(self, plan: Any) -> dict[str, Any]:
        return {}

    def predict(self, cases: Any, run: Any) -> Any:
        if self.params.extras:
            return [Prediction(case.case_id, 0.5, "model", extras={"cost": float("nan")}) for case in cases]
        return [Prediction(case.case_id, 0.5, "model") for case in cases][:-1]


KINDS = {
    "expert": (ArchiveExpert, SureExpert), "search": (Spender, WorstFirst), "reward": (LikesNonsense,),
    "metric": (Wide,), "perturbation": (Renames,), "method": (Forgetful,),
}  # fmt: skip


@pytest.fixture(autouse=True)
def broken_components(monkeypatch: pytest.MonkeyPatch) -> None:
    components: Any = load_registry().components
    for kind, found in KINDS.items():
        for component in found:
            monkeypatch.setitem(
                components, (kind, component.name), (registered(kind, component, "broken", "a-package"),)
            )


def distilled(search: str, reward: str = "eag") -> str:
    sizes = "token_budget: 200, max_new_tokens: 96, max_training_cases: 8, sft: {steps: 1}"
    return f"{{name: trajectory_distillation, expert: lightgbm, search: {search}, reward: {reward}, {sizes}}}"


def breaks(kind: str, name: str, hook: str, where: str) -> str:
    return f"the {kind} '{name}' of a-package (plugin broken, register_{hook}) breaks its contract in {where}"


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("archive", breaks("expert", "archive", "experts", "save, folder: a stage leaves no pickle and no file that")),
        ("sure", breaks("expert", "sure", "experts", "predict, result: a probability is outside of 0 to 1")),
        (distilled("spender"), breaks("search", "spender", "searches", "run, token_budget=200: case")),
        (distilled("worst_first"), breaks("search", "worst_first", "searches", "run, result: case")),
        (
            distilled("best_of_n", "likes_nonsense"),
            breaks(
                "reward", "likes_nonsense", "rewards", "__call__, trajectory: an answer that could not be read gets"
            ),
        ),
        ("forgetful", breaks("method", "forgetful", "methods", "predict, cases: ")),
        ("{name: forgetful, extras: true}", "cost is not a finite number"),
    ],
)
def test_a_broken_component_fails_its_own_cells(
    cli: Cli, tmp_path: Path, physionet_root: Path, method: str, reason: str
) -> None:
    name = method.partition("name: ")[2].partition(",")[0].rstrip("}") or method
    finished, rows = run(cli, tmp_path, physionet_root, f"[logistic_regression, {method}]", "clean")
    assert finished.code == 1, finished.err
    assert reason in finished.out, [line for line in finished.out.splitlines() if line.startswith("failed")]
    status = {row.method: row.status for row in rows.itertuples() if row.metric == "auroc" and row.seed == "mean"}
    assert status == {"logistic_regression": "ok", name: "failed"}


def test_a_broken_metric_fails_alone(cli: Cli, tmp_path: Path, physionet_root: Path) -> None:
    finished, rows = run(
        cli, tmp_path, physionet_root, "[logistic_regression]", "clean", metrics="[auroc, wide, brier]"
    )
    assert finished.code == 1
    assert (
        "metric wide: the metric 'wide' of a-package (plugin broken, register_metrics) breaks its contract"
        in finished.out
    )
    assert "1 rows gave values of shape" in finished.out
    status = {row.metric: row.status for row in rows.itertuples() if row.seed == "mean"}
    assert status == {"auroc": "ok", "brier": "ok", "wide": "failed"}
    assert cli("verify", tmp_path / "out").code == 0


def test_a_broken_perturbation_fails_its_condition(cli: Cli, tmp_path: Path, physionet_root: Path) -> None:
    condition = "{name: renames, severity: [0.2]}"
    finished, rows = run(cli, tmp_path, physionet_root, "[logistic_regression]", f"clean, {condition}")
    assert finished.code == 1
    assert breaks("perturbation", "renames", "perturbations", "apply, severity=0.2") in finished.out
    status = {row.condition: row.status for row in rows.itertuples() if row.seed == "mean"}
    assert status == {"clean": "ok", "renames": "failed"}


def run(
    cli: Cli, folder: Path, root: Path, methods: str, conditions: str, metrics: str = "[auroc]"
) -> tuple[Finished, pd.DataFrame]:
    (folder / "b.yaml").write_text(
        f"""\
name: broken
data: {{name: physionet2012, root: '{root}'}}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}}
policy: {{name: tiny, steps: 200, hidden_dim: 64, layers: 2}}
record_text: {{values: quantile, periods: 1, instructions: short}}
methods: {methods}
conditions: [{conditions}]
metrics: {metrics}
intervals: {{resamples: 100}}
seeds: [0]
"""
    )
    finished = cli("run", folder / "b.yaml", "--limit", 120, "--out", folder / "out", "--quiet")
    assert finished.code != 70, finished.err
    return finished, pd.read_csv(folder / "out" / "results.csv")


def test_a_pickle_is_found_by_its_beginning_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "model.dat").write_bytes(b"\x80\x04\x95abc")
    with pytest.raises(ContractError, match=r"save, folder: .*model.dat"):
        check_files(tmp_path)
    (tmp_path / "model.dat").write_bytes(b"PK")
    check_files(tmp_path)


def test_arrays_are_no_pickle_whatever_the_length_of_their_header(tmp_path: Path) -> None:
    # A header of 128 bytes begins the file with those of a pickle of protocol 0, one of 1,152 with those of protocol 4.
    starts = set()
    for length in range(0, 1400, 8):
        save_arrays(tmp_path / "x.safetensors", {"a": np.zeros(2)}, {"name": "n" * length})
        starts.add((tmp_path / "x.safetensors").read_bytes()[:2])
        check_files(tmp_path)
    assert {b"\x80\x00", b"\x80\x04"} <= starts
