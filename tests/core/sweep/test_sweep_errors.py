"""A sweep that can't work is refused before its first trial: one message, exit code 2, no study begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Finished

Cli = Callable[..., Finished]

BENCHMARK = """\
name: small
data: {{name: physionet2012, root: {root}}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2}}
methods:
  - {{name: logistic_regression, as: linear}}
  - lightgbm
conditions: [clean, {{name: missing_values, severity: [0.3]}}]
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
sampler: {name: TPESampler, seed: 0}
trials: 2
"""


@pytest.fixture
def sweep(tmp_path: Path, physionet_root: Path, store_folder: Path) -> Path:
    (tmp_path / "small.yaml").write_text(BENCHMARK.format(root=physionet_root))
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    return path


def refused(cli: Cli, sweep: Path, *arguments: object) -> str:
    """The message of a sweep that must be refused; nothing may be left behind."""
    out = sweep.parent / "out"
    done = cli("sweep", sweep, "--out", out, *arguments)
    assert done.code == 2, done
    assert done.out == ""
    assert done.err.count("error: ") == 1
    assert "Traceback" not in done.err
    assert not out.exists()
    return done.err[done.err.index("error: ") :]


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        # Wrong paths.
        ("lightgbm.subsample", "lightgbm.subsmaple", ["sweep.yaml:5", "subsmaple", "did you mean 'subsample'"]),
        ("lightgbm.subsample", "lihgtgbm.subsample", ["sweep.yaml:5", "lihgtgbm", "did you mean 'lightgbm'"]),
        ("methods.lightgbm.subsample", "method.lightgbm.subsample", ["sweep.yaml:5", "did you mean 'methods'"]),
        ("methods.lightgbm.subsample", "split.tuning", ["sweep.yaml:5", "can't vary", "how it is judged"]),
        ("methods.lightgbm.subsample", "data.root", ["sweep.yaml:5", "different data"]),
        # Values outside a parameter's own bounds, and of another type.
        ("[0.5, 1.0]", "[0.5, 1.5]", ["sweep.yaml:5", "subsample", "less than or equal to 1", "1.5"]),
        ("[3, 31]", "[1, 31]", ["sweep.yaml:4", "num_leaves", "greater than or equal to 2", "1"]),
        ("{float: [0.5, 1.0]}", "{categorical: [0.5, high]}", ["sweep.yaml:5", "subsample", "high"]),
        # Distributions that are none.
        ("[0.5, 1.0]}", "[0.5, 1.0], lgo: true}", ["sweep.yaml:5", "lgo", "did you mean 'log'", "categorical, float"]),
        ("[0.5, 1.0]", "[1.0, 0.5]", ["sweep.yaml:5", "not below"]),
        ("[0.5, 1.0]", "[0.5, 1.0], step: 0.2", ["sweep.yaml:5", "steps of 0.2 do not lead from 0.5 to 1"]),
        ("[0.5, 1.0]", "[0.0, 1.0], log: true", ["sweep.yaml:5", "above 0"]),
        ("{float: [0.5, 1.0]}", "{categorical: [0.5, 0.5]}", ["sweep.yaml:5", "twice"]),
        ("[0.5, 1.0]}", "[0.5, 1.0], when: {methods.lightgbm.num_leave: 3}}", ["sweep.yaml:5", "did you mean"]),
        ("[0.5, 1.0]}", "[0.5, 1.0], when: {methods.lightgbm.num_leaves: 99}}", ["sweep.yaml:5", "never is 99"]),
        # Samplers and pruners.
        ("TPESampler", "TPESampel", ["sweep.yaml:8", "no sampler 'TPESampel'", "did you mean 'TPESampler'"]),
        ("seed: 0", "sede: 0", ["sweep.yaml:8", "TPESampler has no parameter 'sede'", "did you mean 'seed'"]),
        ("seed: 0", "n_startup_trials: many", ["sweep.yaml:8", "n_startup_trials", "int", "many"]),
        ("trials: 2", "pruner: MedianPuner\ntrials: 2", ["sweep.yaml:9", "did you mean 'MedianPruner'"]),
        ("TPESampler, seed: 0", "GridSampler", ["sweep.yaml:8", "GridSampler needs 'search_space'"]),
        # Objectives.
        ("{metric: auroc}", "{metric: auroc, split: held_out}", ["sweep.yaml:7", "held-out cases can't be"]),
        ("{metric: auroc}", "{metric: held_out_auroc}", ["sweep.yaml:7", "held-out cases can't be"]),
        ("{metric: auroc}", "held-out auroc", ["sweep.yaml:7", "held-out cases can't be"]),
        ("{metric: auroc}", "{metric: auroc, part: held_out}", ["sweep.yaml:7", "held-out cases can't be"]),
        ("{metric: auroc}", "{metric: aurco}", ["sweep.yaml:7", "aurco", "did you mean 'auroc'"]),
        ("{metric: auroc}", "{metric: auroc, method: linaer}", ["sweep.yaml:7", "did you mean 'linear'"]),
        ("{metric: auroc}", "{metric: auroc, method: linear}", ["sweep.yaml:4", "no objective is measured on"]),
        ("{metric: auroc}", "{metric: brier, direction: maximize}", ["sweep.yaml:7", "better when lower"]),
        ("{metric: auroc}", "{degradation: auroc}", ["sweep.yaml:7", "needs `condition` and `severity`"]),
        (
            "{metric: auroc}",
            "{degradation: auroc, condition: mising_values, severity: 0.3}",
            ["sweep.yaml:7", "did you mean 'missing_values'"],
        ),
        ("{metric: auroc}", "{degradation: auroc, condition: missing_values, severity: 7}", ["no severity 7"]),
        ("{metric: auroc}", "{cost: tokens}", ["sweep.yaml:7", "generated_tokens"]),
        ("{metric: auroc}", "{metric: auroc}\n  - {metric: auroc}", ["sweep.yaml:8", "twice"]),
        (
            "  - {metric: auroc}\n",
            "  - {metric: auroc}\n  - {metric: brier}\npruner: MedianPruner\n",
            ["sweep.yaml:9", "one objective only"],
        ),
        # Rungs.
        *(
            ("trials: 2", f"rungs: {rungs}\npruner: {pruner}\ntrials: 2", parts)
            for rungs, pruner, parts in [
                ("{training_share: [0.5]}", "MedianPruner", ["sweep.yaml:9", "two rungs at least"]),
                ("{training_share: [0.5, 0.5, 1]}", "MedianPruner", ["sweep.yaml:9", "does not rise"]),
                ("{training_share: [0.5, 0.9]}", "MedianPruner", ["sweep.yaml:9", "to 1, all training patients"]),
                ("{training_share: [0, 1]}", "MedianPruner", ["sweep.yaml:9", "from above 0"]),
                ("{training_share: [0.5, 1, 2]}", "MedianPruner", ["sweep.yaml:9", "to 1, all training patients"]),
                ("{training_share: [few, all]}", "MedianPruner", ["sweep.yaml:9", "is a number, not 'few'"]),
                ("{training_share: [.nan, 1]}", "MedianPruner", ["sweep.yaml:9", ".nan is not a finite number"]),
                ("{training_share: 0.5}", "MedianPruner", ["sweep.yaml:9", "rungs.training_share", "0.5"]),
                ("{}", "MedianPruner", ["sweep.yaml:9", "one thing grows from rung to rung, not 0"]),
                (
                    "{training_share: [0.5, 1], methods.lightgbm.n_estimators: [5, 9]}",
                    "MedianPruner",
                    ["sweep.yaml:9", "one thing grows from rung to rung, not 2"],
                ),
                ("{trainign_share: [0.5, 1]}", "MedianPruner", ["sweep.yaml:9", "did you mean 'training_share'"]),
                ("{data.window_hours: [24, 48]}", "MedianPruner", ["sweep.yaml:9", "can't grow from rung to rung"]),
                ("{methods.lightgbm: [1, 2]}", "MedianPruner", ["sweep.yaml:9", "can't grow from rung to rung"]),
                (
                    "{methods.lightgbm.n_estimatros: [5, 9]}",
                    "MedianPruner",
                    ["sweep.yaml:9", "n_estimatros", "did you mean 'n_estimators'"],
                ),
                ("{methods.lihgtgbm.n_estimators: [5, 9]}", "MedianPruner", ["sweep.yaml:9", "mean 'lightgbm'"]),
                # Only the first rung is out of bounds, only the last one, and one of another type.
                ("{methods.lightgbm.n_estimators: [0, 9]}", "MedianPruner", ["sweep.yaml:9", "or equal to 1", "0"]),
                ("{methods.lightgbm.colsample_bytree: [0.5, 2]}", "MedianPruner", ["sweep.yaml:9", "or equal to 1"]),
                ("{methods.lightgbm.n_estimators: [2, 4.5, 9]}", "MedianPruner", ["sweep.yaml:9", "integer", "4.5"]),
                ("{methods.lightgbm.num_leaves: [5, 9]}", "MedianPruner", ["sweep.yaml:9", "is in the space"]),
                ("{methods.1.num_leaves: [5, 9]}", "MedianPruner", ["sweep.yaml:9", "is in the space"]),
                (
                    "{methods.linear.inverse_penalty: [0.1, 1]}",
                    "MedianPruner",
                    ["sweep.yaml:9", "the objective is measured on 'lightgbm'"],
                ),
                ("{training_share: [0.5, 1]}", "NopPruner", ["sweep.yaml:9", "without a pruner only cost"]),
                (
                    "{training_share: [0.5, 1]}",
                    "{name: WilcoxonPruner}",
                    ["sweep.yaml:10", "WilcoxonPruner pairs", "SuccessiveHalvingPruner"],
                ),
                ("{training_share: [0.5, 1]}", "HyperbandPruner", ["sweep.yaml:10", "rungs of its own"]),
                (
                    "{training_share: [0.5, 1]}",
                    "{name: SuccessiveHalvingPruner, reduction_factor: 1}",
                    ["sweep.yaml:10", "SuccessiveHalvingPruner", "reduction_factor"],
                ),
            ]
        ),
        (
            "  - {metric: auroc}\n",
            "  - {metric: auroc}\n  - {metric: brier}\nrungs: {training_share: [0.5, 1]}\n",
            ["sweep.yaml:9", "one objective only"],
        ),
        # The rest of the file.
        ("small.yaml", "smal.yaml", ["sweep.yaml:2", "no benchmark"]),
        ("trials: 2", "trails: 2", ["sweep.yaml:9", "did you mean 'trials'"]),
        (
            "trials: 2",
            "trials: 2\nfixed_trials: [{methods.lightgbm.num_leaves: 99}]",
            ["sweep.yaml:10", "99", "[3, 31]"],
        ),
        ("trials: 2", "trials: 2\nset: ['split={folds: 5}']", ["--set split", "held-out patients", "folds"]),
    ],
)
def test_a_wrong_sweep_is_refused(cli: Cli, sweep: Path, old: str, new: str, parts: list[str]) -> None:
    text = sweep.read_text()
    assert old in text
    sweep.write_text(text.replace(old, new))
    message = refused(cli, sweep)
    for part in parts:
        assert part in message, message


def test_a_condition_that_means_nothing_to_a_method(cli: Cli, sweep: Path) -> None:
    """Prompts have no columns whose positions could be confused."""
    benchmark = sweep.parent / "small.yaml"
    text = benchmark.read_text().replace("- lightgbm", "- {name: prompt, style: vanilla}") + "policy: {name: tiny}\n"
    benchmark.write_text(text)
    text = sweep.read_text().replace(
        "methods.lightgbm.num_leaves: {int: [3, 31], log: true}", "policy.name: {categorical: [tiny]}"
    )
    text = text.replace(
        "methods.lightgbm.subsample: {float: [0.5, 1.0]}", "methods.prompt.max_new_tokens: {int: [8, 16]}"
    )
    objective = "{degradation: auroc, condition: feature_order_positional, severity: 1.0}"
    sweep.write_text(text.replace("{metric: auroc}", objective))
    assert "sweep.yaml:7: the condition 'feature_order_positional' means nothing to the method 'prompt'" in refused(
        cli, sweep
    )


def test_paths_outside_one_method_are_not_compared_with_themselves(cli: Cli, sweep: Path) -> None:
    sweep.write_text(
        sweep.read_text().replace(
            "methods.lightgbm.subsample: {float: [0.5, 1.0]}", "data.window_hours: {int: [24, 48]}"
        )
    )
    done = cli("sweep", sweep, "--out", sweep.parent / "out", "--evaluate-best")
    assert done.code == 2
    assert "sweep.yaml:5" in done.err
    assert "'data.window_hours' is not in it" in done.err


def test_a_storage_that_is_none(cli: Cli, sweep: Path) -> None:
    done = cli("sweep", sweep, "--out", sweep.parent / "out", "--storage", "postgers://me:secret@host/db")
    assert done.code == 2
    assert "secret" not in done.err
    assert "Traceback" not in done.err


def test_an_unrelated_folder_is_not_written_into(cli: Cli, sweep: Path) -> None:
    (sweep.parent / "mine").mkdir()
    (sweep.parent / "mine" / "thesis.tex").write_text("")
    done = cli("sweep", sweep, "--out", sweep.parent / "mine")
    assert done.code == 2
    assert "is not a sweep's folder" in done.err
