"""A whole sweep on real records: what it may see, what it computes once, what it leaves behind."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from eagbench.config.loading import load_benchmark
from eagbench.contracts.records import Cohort, Provenance
from eagbench.contracts.stages import StageRun
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.registry.plugins import load_registry
from eagbench.stages.cohort_files import write_cohort
from eagbench.stages.nested_split import divide
from eagbench.stages.split import assign, read_assignment
from eagbench.sweep.division import choose_division
from eagbench.sweep.folder import load_study, read_sweep
from tests.builders import make_case, make_cohort_cases
from tests.conftest import ROOT, Finished

SWEEPS = {"concare", "eag_rl", "expert_mcts", "lightgbm", "multi_objective"}
BENCHMARK = """\
name: small
data: {{name: physionet2012, root: {root}}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2}}
methods: [logistic_regression, {{name: lightgbm, n_estimators: 40}}]
metrics: [auroc, brier]
"""
SWEEP = """\
name: tuned
benchmark: small.yaml
space:
  methods.lightgbm.num_leaves: {int: [3, 31], log: true}
  methods.lightgbm.subsample: {float: [0.5, 1.0]}
objectives:
  - {metric: auroc}
trials: 3
"""


def write(folder: Path, root: Path, sweep: str = SWEEP) -> Path:
    (folder / "small.yaml").write_text(BENCHMARK.format(root=root))
    (folder / "sweep.yaml").write_text(sweep)
    return folder / "sweep.yaml"


def patients(store: Path, kind: str) -> set[str]:
    """Hashes of the patient sets that stages of a kind saw."""
    manifests = [json.loads(path.read_text()) for path in (store / kind).glob("*/manifest.json")]
    return {value for manifest in manifests for value in manifest["patients_sha256"].values()}


def test_a_sweep_from_its_file_to_its_evaluation(
    cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    sweep, out = write(tmp_path, physionet_root), tmp_path / "out"
    first = cli("sweep", sweep, "--out", out, "--trials", 2)
    assert first.code == 0, first.err
    # Continued to what the file asks for, and evaluated.
    done = cli("sweep", sweep, "--out", out, "--evaluate-best")
    assert done.code == 0, done.err

    record, study = read_sweep(out), load_study(out)
    assert (record.trials, record.tuning.scheme, record.tuning.folds) == (3, "cross_validation", 3)
    assert record.objectives[0].direction == "maximize"
    trials = study.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    # The benchmark as written comes first; num_leaves is LightGBM's own default there.
    assert trials[0].params == {"methods.lightgbm.num_leaves": 15, "methods.lightgbm.subsample": 0.8}
    for trial in trials:
        values = [step["values"] for step in trial.user_attrs["steps"]]
        assert len(values) == 3
        assert trial.values == pytest.approx(np.mean(values, axis=0).tolist())

    # Data, split and nested splits are done once; only what depends on the values is done per trial.
    counts = [trial.user_attrs["stages"] for trial in trials]
    assert counts[0]["split"]["computed"] == 3
    assert all(count["split"]["computed"] == count["cohort"]["computed"] == 0 for count in counts[1:])
    assert all(count["expert"] == {"computed": 3, "reused": 0} for count in counts)
    assert "logistic_regression" not in "".join(p.read_text() for p in store_folder.glob("expert/*/manifest.json"))
    sums = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    assert sums["stages"]["expert"] == {"computed": 9, "reused": 0}

    rows = list(csv.DictReader((out / "trials.csv").open()))
    assert [float(row["objective:auroc"]) for row in rows] == [trial.value for trial in trials]
    assert [row["origin"] for row in rows] == ["default", "sampled", "sampled"]
    assert (out / "report.html").is_file()

    # The best trial is a benchmark: the one that was evaluated, and that runs.
    best = load_benchmark(out / "best.yaml").benchmark
    assert best.methods[1].params["num_leaves"] == study.best_params["methods.lightgbm.num_leaves"]
    head = (out / "best.yaml").read_text().splitlines()[0]
    assert f"trial {study.best_trial.number}, of 3 finished trials" in head
    rows = list(csv.DictReader((out / "evaluation" / "comparisons.csv").open()))
    primary = rows[0]
    assert (primary["method"], primary["baseline"], primary["metric"]) == ("tuned", "default", "auroc")
    assert float(primary["ci_low"]) <= float(primary["difference"]) <= float(primary["ci_high"])
    manifest = json.loads((out / "evaluation" / "manifest.json").read_text())
    assert "3 finished trials" in json.dumps(manifest)

    # A second look at the held-out cases, for another choice, is refused.
    more = cli("sweep", sweep, "--out", out, "--trials", 3, "--evaluate-best")
    assert more.code == 0, more.err
    study.set_user_attr("evaluations", [{"trials": [99], "finished": 2}])
    refused = cli("sweep", sweep, "--out", out, "--trials", 3, "--evaluate-best")
    assert refused.code == 2
    assert "were evaluated after 2 trials already" in refused.err
    # Another space in the same folder is another sweep.
    sweep.write_text(SWEEP.replace("0.5, 1.0", "0.6, 1.0"))
    other = cli("sweep", sweep, "--out", out)
    assert other.code == 2
    assert "belongs to another sweep" in other.err


def test_trials_see_no_held_out_patient(
    cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    """Neither where the observation window varies, and with it the cohort."""
    text = SWEEP.replace(
        "  methods.lightgbm.subsample: {float: [0.5, 1.0]}\n", "  data.window_hours: {int: [12, 48], step: 36}\n"
    )
    text += "fixed_trials: [{data.window_hours: 12}]\n"
    done = cli("sweep", write(tmp_path, physionet_root, text), "--out", tmp_path / "out", "--trials", 2)
    assert done.code == 0, done.err
    store = Store.open()
    plan = make_plan(load_benchmark(tmp_path / "small.yaml"), load_registry(), store)
    own = read_assignment(store.folder(plan.transfer.domains[0].split)).to_pylist()
    held_out = {row["patient_id"] for row in own if row["part"] == "held_out"}
    tables = [
        read_assignment(path)
        for path in store_folder.glob("split/*/")
        if path != store.folder(plan.transfer.domains[0].split)
    ]
    assert len(tables) == 2 * 3  # two windows, three folds
    scored: list[frozenset[str]] = []
    for table in tables:
        rows = table.to_pylist()
        assert not held_out & {row["patient_id"] for row in rows}
        scored.append(frozenset(row["patient_id"] for row in rows if row["part"] == "held_out"))
    # Each fold's patients are the same for both windows.
    assert len(set(scored)) == 3


def test_a_trial_that_fails_is_named(
    cli: Callable[..., Finished],
    tmp_path: Path,
    physionet_root: Path,
    store_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from eagbench_plugins.experts.gradient_boosting import LightGBM

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("no leaves")

    monkeypatch.setattr(LightGBM, "fit", broken)
    done = cli("sweep", write(tmp_path, physionet_root), "--out", tmp_path / "out")
    assert done.code == 70  # a bug in the method
    assert "no leaves" in done.out
    trials = load_study(tmp_path / "out").trials
    assert [trial.state for trial in trials] == [TrialState.FAIL] * 3  # three in a row are enough
    assert {trial.user_attrs["failure"] for trial in trials} == {"bug"}
    assert "ZeroDivisionError" in (tmp_path / "out" / "trials.csv").read_text()


def test_a_sweep_of_what_follows_the_search_searches_once(
    tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    """Trials of configs/sweeps/eag_rl.yaml have the search and all before it in common."""
    from eagbench.sweep.session import SweepRequest, open_session

    sets = (f"data={{name: physionet2012, root: {physionet_root}}}",)
    session = open_session(SweepRequest(ROOT / "configs/sweeps/eag_rl.yaml", tmp_path / "out", sets, quiet=True))
    space, (_, split), plans = session.planner.space, session.steps[0], []
    for pick in (0, -1):
        values = space.draw(lambda parameter, pick=pick: parameter.extremes()[pick])  # type: ignore[misc]
        plans.append(session.planner.plan(values, 0, split))
    kinds = {kind: [{n.fingerprint for n in plan.nodes if n.kind == kind} for plan in plans] for kind in
             ("salience", "policy", "trajectories", "sft", "policy_optimisation")}  # fmt: skip
    for kind in ("salience", "policy", "trajectories"):
        assert kinds[kind][0] == kinds[kind][1]
        assert len(kinds[kind][0]) == 1
    for kind in ("sft", "policy_optimisation"):
        assert not kinds[kind][0] & kinds[kind][1]


@pytest.mark.parametrize("name", sorted(SWEEPS))
def test_the_repositorys_sweeps_are_valid(tmp_path: Path, physionet_root: Path, store_folder: Path, name: str) -> None:
    """Every end and choice of their spaces fits, and the benchmark as written is among their trials."""
    from eagbench.sweep.session import SweepRequest, open_session

    assert {path.stem for path in (ROOT / "configs/sweeps").glob("*.yaml")} == SWEEPS
    sets = (f"data={{name: physionet2012, root: {physionet_root}}}",)
    session = open_session(SweepRequest(ROOT / f"configs/sweeps/{name}.yaml", tmp_path / "out", sets, quiet=True))
    assert session.record.name == name
    assert session.record.default, session.record.default_reason


def outer_split(folder: Path, n: int, share: float, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    items = [
        make_case({"a": [1.0]}, case_id=f"c{p}-{s}", patient_id=f"p{p:04}") for p in range(n) for s in range(1 + p % 3)
    ]
    labels = (rng.random(len(items)) < share).astype(np.int8)
    cohort = Cohort(make_cohort_cases(items, ["a"]), labels, Provenance("made", "synthetic", "none", False, n, ()))
    for name in ("cohort", "split"):
        (folder / name).mkdir()
    write_cohort(cohort, folder / "cohort")
    params = {"train": 0.7, "tuning": 0.1, "held_out": 0.2, "folds": None, "seed": seed, "limit": None}
    assign(StageRun(params, {"cohort": folder / "cohort"}, 0, folder / "split"))
    return folder / "split"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(60, 150), seed=st.integers(0, 9), folds=st.integers(2, 5))
def test_nested_parts_come_from_training_and_tuning_alone(
    tmp_path_factory: pytest.TempPathFactory, n: int, seed: int, folds: int
) -> None:
    folder = tmp_path_factory.mktemp("nested")
    split = outer_split(folder, n, 0.4, seed)
    part_of = {row["patient_id"]: row["part"] for row in read_assignment(split).to_pylist()}
    usable = {patient for patient, part in part_of.items() if part != "held_out"}
    scored: list[str] = []
    for fold in range(folds):
        params = {"scheme": "cross_validation", "folds": folds, "fold": fold, "seed": seed}
        parts = divide(split, folder / "cohort", params)
        assert frozenset.union(*parts.values()) == usable
        assert sum(map(len, parts.values())) == len(usable)
        scored.extend(parts["held_out"])
    assert sorted(scored) == sorted(usable)  # each one is scored once
    parts = divide(split, folder / "cohort", {"scheme": "tuning_part", "folds": 1, "fold": 0, "seed": seed})
    assert parts["held_out"] == {patient for patient, part in part_of.items() if part == "tuning"}
    assert parts["train"] | parts["tuning"] == {patient for patient, part in part_of.items() if part == "train"}


@pytest.mark.parametrize(
    ("n", "share", "scheme"),
    [(600, 0.4, "tuning_part"), (300, 0.4, "cross_validation"), (600, 0.05, "cross_validation")],
)
def test_few_tuning_cases_or_events_mean_cross_validation(tmp_path: Path, n: int, share: float, scheme: str) -> None:
    """100 cases with 20 events; here about 2 cases per patient and a tenth of the patients tune."""
    folder = outer_split(tmp_path, n, share, 1)
    node: Any = None
    record, divisions = choose_division(node, folder, 3)
    assert (record.scheme, len(divisions)) == (scheme, 1 if scheme == "tuning_part" else 3)
    scored = ("tuning",) if scheme == "tuning_part" else ("train", "tuning")
    assert record.n_cases == sum(row["part"] in scored for row in read_assignment(folder).to_pylist())
