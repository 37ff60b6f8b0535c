"""Rungs: what a trial climbs, where it is stopped, and that a part of the training patients is only that."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from eagbench.config.loading import load_benchmark
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.registry.plugins import load_registry
from eagbench.stages.cohort_files import read_labels
from eagbench.stages.nested_split import assign, divide
from eagbench.stages.split import read_assignment, read_parts
from eagbench.sweep.file import load_sweep
from eagbench.sweep.folder import load_study, read_sweep
from eagbench.sweep.loop import work
from eagbench.sweep.sampling import make_pruner
from eagbench.sweep.session import Session, SweepRequest, open_session
from eagbench.sweep.trial_plan import TrialPlanner
from tests.conftest import ROOT, Finished
from tests.core.sweep.test_sweep import outer_split

BENCHMARK = """\
name: small
data: {{name: physionet2012, root: {root}}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2}}
methods: [{{name: lightgbm, n_estimators: 20, min_child_samples: 4}}]
metrics: [auroc]
"""
LEAVES = "methods.lightgbm.min_child_samples"
# A leaf of 10,000 cases is every case: one probability for all, an AUROC of one half.
SWEEP = """\
name: climbing
benchmark: small.yaml
space:
  methods.lightgbm.min_child_samples: {int: [2, 10000], log: true}
objectives: [{metric: auroc}]
rungs: {training_share: [0.4, 0.7, 1.0]}
pruner: {name: SuccessiveHalvingPruner, reduction_factor: 2}
fixed_trials: [{methods.lightgbm.min_child_samples: 10000}]
trials: 2
tuning_folds: 2
"""
RUNGS = "rungs: {training_share: [0.4, 0.7, 1.0]}\npruner: {name: SuccessiveHalvingPruner, reduction_factor: 2}\n"
GROWING = SWEEP.replace("training_share: [0.4, 0.7, 1.0]", "methods.lightgbm.n_estimators: [5, 10, 20]")


def write(folder: Path, root: Path, sweep: str = SWEEP) -> Path:
    (folder / "small.yaml").write_text(BENCHMARK.format(root=root))
    (folder / "sweep.yaml").write_text(sweep)
    return folder / "sweep.yaml"


def opened(sweep: Path, out: Path) -> Session:
    return open_session(SweepRequest(sweep, out, quiet=True))


def test_a_bad_trial_is_stopped_on_the_first_rung_and_a_good_one_climbs(
    cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    sweep, out = write(tmp_path, physionet_root), tmp_path / "out"
    # Interrupted on the second rung of the first trial, with the first rung's stages in the store.
    real, calls = TrialPlanner.measure, iter(range(100))

    def interrupted(self: TrialPlanner, *arguments: Any) -> list[float]:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *arguments)

    session = opened(sweep, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrialPlanner, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            work(session)
    done = cli("sweep", sweep, "--out", out)
    assert done.code == 0, done.err
    assert "over 3 rungs of training_share" in done.err
    assert "pruned after 1 of 3 rungs" in done.err

    lost, good, bad = load_study(out).trials
    assert (lost.state, lost.user_attrs["failure"], list(lost.intermediate_values)) == (TrialState.FAIL, "lost", [0])
    # Tried again from the first rung, without computing what was there: one fold's expert of the second rung too.
    assert good.user_attrs["origin"] == {"retry_of": 0}
    assert good.user_attrs["stages"]["expert"] == {"computed": 3, "reused": 3}
    assert good.state == TrialState.COMPLETE
    by_rung = {
        rung: [step["values"][0] for step in good.user_attrs["steps"] if step["rung"] == rung]
        for rung in (0.4, 0.7, 1.0)
    }
    assert all(len(values) == 2 for values in by_rung.values())
    assert good.intermediate_values == pytest.approx({i: np.mean(v) for i, v in enumerate(by_rung.values())})
    assert good.value == pytest.approx(np.mean(by_rung[1.0]))  # that of the last rung alone
    assert (bad.state, bad.params[LEAVES]) == (TrialState.PRUNED, 10000)
    assert bad.intermediate_values == {0: 0.5}
    assert [step["rung"] for step in bad.user_attrs["steps"]] == [0.4] * 2
    assert bad.user_attrs["stages"]["expert"] == {"computed": 2, "reused": 0}
    # The division at a rung is done once for all trials.
    assert bad.user_attrs["stages"]["split"] == {"computed": 0, "reused": 3}

    # Continued: whoever comes later is measured against those of before.
    more = cli("sweep", sweep, "--out", out, "--trials", 4)
    assert more.code == 0, more.err
    trials = load_study(out).trials
    assert [trial.params for trial in trials[:3]] == [trial.params for trial in (lost, good, bad)]
    assert len(trials) == 5
    first_rung = [trial.intermediate_values[0] for trial in trials]
    for i, trial in enumerate(trials[3:], start=3):
        assert trial.intermediate_values  # on the steps 0, 1, 2
        is_among_best = sorted(first_rung[: i + 1])[-max(1, (i + 1) // 2)] <= first_rung[i]
        assert (len(trial.intermediate_values) > 1) == is_among_best

    rows = list(csv.DictReader((out / "trials.csv").open()))
    assert [int(row["rungs"]) for row in rows] == [len(trial.intermediate_values) for trial in trials]
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["rungs"] for line in lines[:3]] == [1, 3, 1]
    assert read_sweep(out).rungs == {"training_share": [0.4, 0.7, 1.0]}
    head = (out / "best.yaml").read_text()
    assert "last of 3 rungs: training_share 1.0" in head
    assert load_benchmark(out / "best.yaml").benchmark.methods[0].params["n_estimators"] == 20
    report = (out / "report.html").read_text()
    assert ">0.4</text>" in report
    assert ">training_share</text>" in report

    # Held-out patients are in no rung.
    store = Store.open()
    own = store.folder(
        make_plan(load_benchmark(tmp_path / "small.yaml"), load_registry(), store).transfer.domains[0].split
    )
    held_out = {row["patient_id"] for row in read_assignment(own).to_pylist() if row["part"] == "held_out"}
    nested = [path for path in store_folder.glob("split/*/") if path != own]
    assert len(nested) == 3 * 2  # three rungs, two folds
    for path in nested:
        assert not held_out & {row["patient_id"] for row in read_assignment(path).to_pylist()}

    # Without rungs the same trial is the work of the last rung: all of it lies in the store.
    sweep.write_text(SWEEP.replace(RUNGS, ""))
    plain = cli("sweep", sweep, "--out", tmp_path / "plain", "--trials", 1)
    assert plain.code == 0, plain.err
    [trial] = load_study(tmp_path / "plain").trials
    assert trial.value == good.value
    assert all(count["computed"] == 0 for count in trial.user_attrs["stages"].values())
    assert read_sweep(tmp_path / "plain").rungs is None
    assert "rungs" not in (tmp_path / "plain" / "trials.csv").read_text()
    # Other rungs are another sweep.
    sweep.write_text(SWEEP.replace("0.4, 0.7", "0.5, 0.7"))
    other = cli("sweep", sweep, "--out", out, "--trials", 4)
    assert other.code == 2
    assert "belongs to another sweep" in other.err


def test_growing_training_by_a_path(
    cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    out = tmp_path / "out"
    # As written the benchmark is another configuration than that of the last rung.
    text = GROWING.replace("5, 10, 20", "5, 15").replace("10000}]", f"10000}}, {{{LEAVES}: 4}}]")
    sweep = write(tmp_path, physionet_root, text)
    done = cli("sweep", sweep, "--out", out)
    assert done.code == 0, done.err
    assert "n_estimators: 20 is not 15, the last rung" in done.err
    bad, good = load_study(out).trials
    # The first is the best so far, whatever it is.
    assert list(bad.intermediate_values) == list(good.intermediate_values) == [0, 1]
    # All rungs of all trials share the patients' division.
    assert bad.user_attrs["stages"]["split"]["computed"] == 2
    assert good.user_attrs["stages"]["split"]["computed"] == 0
    assert load_study(out).best_trial.number == good.number
    assert load_benchmark(out / "best.yaml").benchmark.methods[0].params["n_estimators"] == 15

    sweep = write(tmp_path, physionet_root, GROWING)
    session = opened(sweep, tmp_path / "other")
    assert session.record.default, session.record.default_reason
    (seed, split), planner = session.steps[0], session.planner
    for rung, n_estimators in enumerate((5, 10, 20)):
        plan = planner.plan({LEAVES: 7}, seed, split, rung)
        [expert] = [node for node in plan.nodes if node.kind == "expert"]
        assert expert.component is not None
        assert (expert.component.params["n_estimators"], expert.component.params["min_child_samples"]) == (
            n_estimators,
            7,
        )
        [nested] = [node for node in plan.nodes if node.kind == "split" and "scheme" in node.params]
        assert "training_share" not in nested.params


@pytest.mark.parametrize("scheme", ["tuning_part", "cross_validation"])
def test_the_whole_share_is_the_stage_of_a_sweep_without_rungs(
    tmp_path: Path, physionet_root: Path, store_folder: Path, scheme: Any
) -> None:
    session = opened(write(tmp_path, physionet_root), tmp_path / "with")
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace(RUNGS, ""))
    plain = opened(tmp_path / "sweep.yaml", tmp_path / "without")
    seed, split = plain.steps[0]
    split = replace(split, scheme=scheme)
    whole = {node.fingerprint for node in plain.planner.plan({LEAVES: 5}, seed, split).nodes}
    by_rung = [
        {node.fingerprint: node.kind for node in session.planner.plan({LEAVES: 5}, seed, split, rung).nodes}
        for rung in range(3)
    ]
    assert set(by_rung[2]) == whole
    for part in by_rung[:2]:  # another training part is other work, all but the data and the benchmark's split
        assert sorted(part[fingerprint] for fingerprint in set(part) & whole) == ["cohort", "split"]


def test_what_stands_before_the_growing_number_is_done_once_for_all_rungs(
    tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    """EAG-RL over the steps of Stage II: one search, one distillation; a part of the patients is other work."""
    text = (ROOT / "configs/sweeps/eag_rl.yaml").read_text().replace("../../benchmarks", str(ROOT / "benchmarks"))
    sweep, sets = tmp_path / "sweep.yaml", (f"data={{name: physionet2012, root: {physionet_root}}}",)
    for i, (rungs, shared) in enumerate(
        [("methods.eag_rl.policy_optimisation.steps: [1, 2]", True), ("training_share: [0.5, 1]", False)]
    ):
        sweep.write_text(f"{text}rungs: {{{rungs}}}\n")
        session = open_session(SweepRequest(sweep, tmp_path / f"out{i}", sets, quiet=True))
        assert session.record.default, session.record.default_reason
        seed, split = session.steps[0]
        plans = [session.planner.plan({}, seed, split, rung) for rung in range(2)]
        for kind in ("policy", "salience", "trajectories", "sft", "policy_optimisation"):
            [one], [other] = ({n.fingerprint for n in plan.nodes if n.kind == kind} for plan in plans)
            assert (one == other) == (shared and kind != "policy_optimisation"), kind


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(80, 200),
    seed=st.integers(0, 9),
    folds=st.sampled_from([1, 3, 4]),
    shares=st.lists(st.floats(0.05, 0.99), min_size=2, max_size=4),
)
def test_a_smaller_share_lies_within_a_larger_one_and_nothing_else_changes(
    tmp_path_factory: pytest.TempPathFactory, n: int, seed: int, folds: int, shares: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("shares")
    split = outer_split(folder, n, 0.4, seed)
    held_out = {row["patient_id"] for row in read_assignment(split).to_pylist() if row["part"] == "held_out"}
    of_case = read_labels(folder / "cohort")
    positive = {row["patient_id"] for row in read_assignment(split).to_pylist() if of_case[row["case_id"]]}
    scheme = "tuning_part" if folds == 1 else "cross_validation"
    for fold in range(folds):
        params = {"scheme": scheme, "folds": folds, "fold": fold, "seed": seed}
        whole = divide(split, folder / "cohort", params)
        assert divide(split, folder / "cohort", {**params, "training_share": 1.0}) == whole
        within: frozenset[str] = frozenset()
        for share in sorted(shares):
            parts = divide(split, folder / "cohort", {**params, "training_share": share})
            assert divide(split, folder / "cohort", {**params, "training_share": share}) == parts
            assert (parts["tuning"], parts["held_out"]) == (whole["tuning"], whole["held_out"])
            assert within <= parts["train"] <= whole["train"]
            assert not parts["train"] & (held_out | parts["tuning"] | parts["held_out"])
            for taken, of in (
                (parts["train"] & positive, whole["train"] & positive),
                (parts["train"] - positive, whole["train"] - positive),
            ):  # either outcome alike
                assert abs(len(taken) - share * len(of)) <= 0.5
            within = parts["train"]


def test_one_outcome_alone_is_no_training_part(tmp_path: Path) -> None:
    split = outer_split(tmp_path, 100, 0.15, 1)
    folders = [tmp_path / name for name in ("whole", "half", "little")]  # a stage's folder never changes
    for folder in folders:
        folder.mkdir()
    inputs = {"cohort": tmp_path / "cohort", "split": split, "split_cohort": tmp_path / "cohort"}
    params = {"scheme": "cross_validation", "folds": 3, "fold": 0, "seed": 0}
    assign(StageRun(params, inputs, 0, folders[0]))
    assign(StageRun({**params, "training_share": 0.5}, inputs, 0, folders[1]))
    whole, half = ({part["part"]: part for part in read_parts(folder)} for folder in folders[:2])
    assert half["train"]["n_patients"] == pytest.approx(whole["train"]["n_patients"] / 2, abs=1)
    assert (half["tuning"], half["held_out"]) == (whole["tuning"], whole["held_out"])
    with pytest.raises(
        UserError, match=r"train part of a trial at the `training_share` 0.02 .* one class only"
    ) as caught:
        assign(StageRun({**params, "training_share": 0.02}, inputs, 0, folders[2]))
    assert "begin with a larger `training_share`" in str(caught.value)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("skipped", [0, 1])
def test_successive_halving_decides_at_every_rung_as_optunas_own_does_at_its_resources(
    tmp_path: Path, factor: int, skipped: int
) -> None:
    pruner = f"{{name: SuccessiveHalvingPruner, reduction_factor: {factor}, min_early_stopping_rate: {skipped}}}"
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("{name: SuccessiveHalvingPruner, reduction_factor: 2}", pruner))
    ours = make_pruner(load_sweep(tmp_path / "sweep.yaml"))
    theirs = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=1, reduction_factor=factor, min_early_stopping_rate=skipped
    )

    def climbed(pruner: optuna.pruners.BasePruner, steps: tuple[int, ...]) -> list[int]:
        rng, reached = np.random.default_rng(0), []
        study = optuna.create_study(direction="maximize", pruner=pruner)
        for _ in range(40):
            trial, values = study.ask(), rng.random(len(steps))
            for k, step in enumerate(steps, start=1):
                trial.report(values[k - 1], step)
                if trial.should_prune() and k < len(steps):
                    break
            reached.append(k)
            study.tell(
                trial, values[-1] if k == len(steps) else None, state=None if k == len(steps) else TrialState.PRUNED
            )
        return reached

    reached = climbed(ours, (0, 1, 2))
    assert reached == climbed(theirs, (1, factor, factor**2))
    assert {1 + skipped, 3} <= set(reached)
    assert min(reached) == 1 + skipped
