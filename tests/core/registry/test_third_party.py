"""Real packages, installed by pip: their components appear and run; a broken one is named and stops nothing."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Finished

Run = Callable[..., Finished]


def test_components_of_another_package_are_listed(third_party: dict[str, str], run_command: Run) -> None:
    listed = run_command("plugins", "list", env=third_party)
    assert listed.code == 0
    for name in ("oldest_dies", "two_samples", "brevity", "tokens_per_case", "fresh_processes"):
        [line] = [line for line in listed.out.splitlines() if line.split()[:1] == [name]]
        assert "eagbench-example" in line


def test_a_broken_plugin_is_named_and_stops_nothing(third_party: dict[str, str], run_command: Run) -> None:
    assert run_command("--help", env=third_party).code == 0
    listed = run_command("plugins", "list", env=third_party)
    [line] = [line for line in listed.out.splitlines() if "eagbench-broken" in line]
    assert "a_package_that_nobody_has" in line
    examined = run_command("doctor", env=third_party)
    assert examined.code == 1
    assert "plugin broken of eagbench-broken is broken" in examined.out


def test_what_only_a_broken_plugin_could_offer_says_so(
    third_party: dict[str, str], run_command: Run, tmp_path: Path, physionet_root: Path
) -> None:
    path = tmp_path / "b.yaml"
    data = f"{{name: physionet2012, root: {physionet_root}}}"
    path.write_text(f"name: b\ndata: {data}\nmethods: [from_the_broken_one]\nmetrics: [auroc]\n")
    done = run_command("run", path, env={**third_party, "EAGBENCH_STORE": str(tmp_path / "store")}, cwd=tmp_path)
    assert done.code == 2
    assert "could not be loaded" in done.err
    assert "broken of eagbench-broken" in done.err


def test_expert_search_and_reward_run_from_yaml(
    third_party: dict[str, str], run_command: Run, tmp_path: Path, physionet_root: Path
) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(
        f"""\
name: third_party
data: {{name: physionet2012, root: {physionet_root}}}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3}}
policy: {{name: tiny, steps: 240, hidden_dim: 64, layers: 2}}
record_text: {{values: quantile, periods: 1, instructions: short}}
reference_expert: {{name: oldest_dies, slope_per_year: 0.1}}
methods:
  - oldest_dies
  - name: trajectory_distillation
    expert: oldest_dies
    search: {{name: two_samples, temperature: 0.9}}
    reward: {{name: brevity, cost_per_token: 0.002}}
    token_budget: 160
    max_new_tokens: 160
    sft: {{steps: 5}}
metrics: [auroc, citation_jaccard, unparsed_rate]
"""
    )
    env = {**third_party, "EAGBENCH_STORE": str(tmp_path / "store")}
    done = run_command("run", path, "--limit", 120, "--out", tmp_path / "out", env=env)
    assert done.code == 0, done.err + done.out
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    values = {(r["method"], r["metric"]): r for r in rows if r["seed"] == "mean"}
    assert values["oldest_dies", "auroc"]["status"] == "ok"
    assert values["trajectory_distillation", "auroc"]["status"] == "ok"
    assert values["trajectory_distillation", "citation_jaccard"]["status"] == "ok"
    kinds = {stage["kind"] for stage in json.loads((tmp_path / "out" / "manifest.json").read_text())["stages"]}
    assert {"expert", "salience", "trajectories", "sft", "predict"} <= kinds
    assert run_command("verify", tmp_path / "out", env=env).code == 0


TOKENS = """\
name: tokens
data: {{name: physionet2012, root: {root}}}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3}}
policy: {{name: tiny, steps: 240, hidden_dim: 64, layers: 2}}
record_text: {{values: quantile, periods: 1, instructions: short}}
methods:
  - oldest_dies
  - {{name: prompt, as: vanilla, style: vanilla, max_new_tokens: 96}}
  - {{name: prompt, as: in_steps, style: question_decomposition, max_new_tokens: 96}}
conditions: [clean, {{name: missing_values, severity: [0.3, 0.6]}}]
comparisons: {{method: in_steps, metric: tokens_per_case}}
metrics: [auroc, tokens_per_case]
intervals: {{resamples: 200}}
seeds: [0]
"""
TABLES = ("results.csv", "comparisons.csv", "robustness.csv", "predictions/vanilla.parquet")


@pytest.mark.slow  # each of its stages imports PyTorch in a process of its own
def test_a_metric_on_tokens_per_case_and_an_executor_of_fresh_processes(
    third_party: dict[str, str], run_command: Run, tmp_path: Path, physionet_root: Path
) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text(TOKENS.format(root=physionet_root))
    outs = {}
    for name, options in (
        ("local", ()),
        ("fresh_processes", ("--executor", "fresh_processes", "--executor-option", "processes=2")),
    ):
        outs[name] = tmp_path / name
        env = {**third_party, "EAGBENCH_STORE": str(tmp_path / f"store_{name}")}
        done = run_command("run", path, "--limit", 100, "--out", outs[name], *options, env=env)
        assert done.code == 0, done.err + done.out
    for table in TABLES:
        assert (outs["local"] / table).read_bytes() == (outs["fresh_processes"] / table).read_bytes()

    def read(table: str) -> list[dict[str, str]]:
        with (outs["local"] / table).open(newline="") as stream:
            return [row for row in csv.DictReader(stream) if row["metric"] == "tokens_per_case"]

    clean = {row["method"]: row for row in read("results.csv") if row["condition"] == "clean" and row["seed"] == "0"}
    assert clean["oldest_dies"]["status"] == "undefined"  # it writes nothing
    for method in ("vanilla", "in_steps"):
        assert float(clean[method]["ci_low"]) <= float(clean[method]["value"]) <= float(clean[method]["ci_high"])
    [primary] = [row for row in read("comparisons.csv") if row["family"] == "primary"]
    assert float(primary["difference"]) > 0  # more tokens in steps
    assert 0 <= float(primary["p_value"]) <= float(primary["p_corrected"]) <= 1
    assert {row["summary"] for row in read("robustness.csv")} >= {"degradation", "area_degradation"}
    # The report needs what the run folder holds, not the package.
    (outs["local"] / "report.html").unlink()
    assert run_command("report", outs["local"]).code == 0
    page = (outs["local"] / "report.html").read_text(encoding="utf-8")
    assert "Tokens ↓" in page
    assert "Tokens: mean number of tokens written for a case." in page
    assert "paired difference in Tokens on unchanged records" in page
    assert page.count(">Tokens ↓</text>") >= 2  # the forest plot, and the curve over severities
    assert "the method writes no text" in page
    assert run_command("verify", outs["local"], env=env).code == 0


def test_its_own_conformance_tests_pass(third_party: dict[str, str], tmp_path: Path) -> None:
    """As its authors run them: with pytest, in their own folder, the package installed."""
    tests = ROOT / "tests" / "third_party" / "eagbench_example" / "tests"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", f"--rootdir={tests}", "-c", os.devnull]
    env = {**os.environ, **third_party, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, str(tests)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
