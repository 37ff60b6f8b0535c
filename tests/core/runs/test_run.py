"""A run on real records: its folder, its resumption, its failures, its repeatability, its verification."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.analysis.metric_uses import MetricUse
from eagbench.contracts.answers import ScoredCases
from eagbench.metrics.calibration import ExpectedCalibrationError
from eagbench.runs.schema import RESULT_COLUMNS
from eagbench.runs.verify.second_opinion import reference_value
from eagbench.runs.verify.verify import verify
from tests.conftest import Finished

Cli = Callable[..., Finished]

BENCHMARK = """\
name: small
data: {{name: physionet2012, root: {root}}}
split: {split}
reference_expert: logistic_regression
methods:
  - lightgbm
  - {{name: lightgbm, as: deep, num_leaves: 63}}
  - logistic_regression
conditions:
  - clean
  - {{name: missing_values, severity: [0.3, 0.6]}}
seeds: [0, 1]
metrics: [auroc, auprc, brier, ece, citation_jaccard, unparsed_rate]
"""


def write_benchmark(folder: Path, root: Path, split: str = "{train: 0.7, tuning: 0.1, held_out: 0.2}") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.yaml"
    path.write_text(BENCHMARK.format(root=root, split=split))
    return path


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory, physionet_root: Path, run_command: Callable[..., Finished]):
    """One run in a process of its own, its benchmark and its store."""
    folder = tmp_path_factory.mktemp("run")
    benchmark = write_benchmark(folder, physionet_root)
    env = {"EAGBENCH_STORE": str(folder / "store"), "PYTHONHASHSEED": "1"}
    done = run_command("run", benchmark, "--out", folder / "out", env=env)
    assert done.code == 0, done.err
    return folder, benchmark, done


def test_the_folder_holds_what_the_contract_names(finished_run) -> None:
    folder, _, done = finished_run
    out = folder / "out"
    assert {"results.csv", "costs.csv", "manifest.json", "report.html", "log.jsonl", "predictions"} <= {
        p.name for p in out.iterdir()
    }
    assert f"run folder: {out}" in done.out
    rows = rows_of(out)
    assert tuple(rows[0]) == RESULT_COLUMNS
    assert {(r["method"], r["seed"]) for r in rows} == {
        (m, s) for m in ("lightgbm", "deep", "logistic_regression") for s in ("0", "1", "mean")
    }
    assert {(r["condition"], r["severity"]) for r in rows} == {
        ("clean", ""), ("missing_values", "0.3"), ("missing_values", "0.6"),
    }  # fmt: skip
    assert {r["status"] for r in rows if r["metric"] != "citation_jaccard"} == {"ok"}
    assert {r["status"] for r in rows if r["metric"] == "citation_jaccard"} == {"undefined"}  # experts cite nothing
    for row in rows:
        if row["status"] == "ok":
            assert float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"])
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["data"]["physionet2012"]["n_patients_read"] == 400
    assert manifest["synthetic"] is False


def test_scikit_learn_alone_recomputes_every_point_value(finished_run) -> None:
    folder, _, _ = finished_run
    out = folder / "out"
    metrics = [MetricUse.recorded(use) for use in json.loads((out / "manifest.json").read_text())["metrics"]]
    n = 0
    for row in rows_of(out):
        if row["seed"] == "mean":
            continue
        table = pq.read_table(out / "predictions" / f"{row['method']}.parquet").to_pylist()
        mine = [
            r
            for r in table
            if (r["seed"], r["condition"], "" if r["severity"] is None else str(r["severity"]))
            == (row["seed"], row["condition"], row["severity"])
        ]
        assert len(mine) == int(row["n_cases"])
        expected = reference_value(row["metric"], mine, metrics)
        if row["status"] == "ok":
            assert float(row["value"]) == pytest.approx(expected, abs=1e-9)
            n += 1
    assert n == 3 * 2 * 3 * 5


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30), st.sampled_from([7, 10, 50, 90, 100]))
def test_verify_bins_answers_of_two_decimals_as_the_metric_does(percents: list[int], bins: int) -> None:
    """0.29 times 100 is 28.999...: such an answer must not fall into another bin when it is checked."""
    rows = [{"probability": p / 100, "label": i % 2, "parsed": True} for i, p in enumerate(percents)]
    use = MetricUse.registered("ece", {"bins": bins})
    metric = ExpectedCalibrationError(ExpectedCalibrationError.Params(bins=bins))
    label = np.array([row["label"] for row in rows])
    scored = ScoredCases(np.array([row["probability"] for row in rows]), label, np.ones(len(rows), dtype=bool))
    value = float(metric(scored, np.ones((1, len(rows))))[0])
    assert reference_value("ece", rows, [use]) == pytest.approx(value, abs=1e-12)


def test_verify_passes_and_notices_tampering(finished_run, tmp_path: Path) -> None:
    folder, _, _ = finished_run
    findings = verify(folder / "out")
    assert findings.passed, findings.problems
    assert findings.checked["point values recomputed"] == len(rows_of(folder / "out"))
    assert findings.checked["patient sets of stages checked"] > 10

    changed = shutil.copytree(folder / "out", tmp_path / "changed")
    text = (changed / "results.csv").read_text()
    (changed / "results.csv").write_text(text.replace(",auroc,0.", ",auroc,0.9", 1))
    assert "results.csv was changed after the run" in verify(changed).text()
    # Even with the hashes made to fit, the numbers do not.
    from eagbench.execution.stage_files import file_hash

    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["files"]["results.csv"] = file_hash(changed / "results.csv")
    (changed / "manifest.json").write_text(json.dumps(manifest))
    assert "recomputed" in verify(changed).text()
    assert not verify(changed).passed


def test_verify_notices_a_patient_who_was_trained_on(finished_run, tmp_path: Path) -> None:
    folder, _, _ = finished_run
    changed = shutil.copytree(folder / "out", tmp_path / "changed")
    table = pq.read_table(changed / "patients.parquet").to_pylist()
    held_out = next(r for r in table if r["part"] == "held_out")
    table.append({**held_out, "part": "train"})
    import pyarrow as pa

    from eagbench.execution.stage_files import file_hash

    pq.write_table(pa.Table.from_pylist(table), changed / "patients.parquet")
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["files"]["patients.parquet"] = file_hash(changed / "patients.parquet")
    (changed / "manifest.json").write_text(json.dumps(manifest))
    assert "1 patients are both trained on and held out" in verify(changed).text()


def test_a_second_run_trains_nothing(finished_run, run_command: Callable[..., Finished], tmp_path: Path) -> None:
    folder, benchmark, _ = finished_run
    before = (folder / "out" / "results.csv").read_bytes()
    env = {"EAGBENCH_STORE": str(folder / "store"), "PYTHONHASHSEED": "2"}
    again = run_command("run", benchmark, "--out", tmp_path / "again", env=env)
    assert again.code == 0
    assert "stages: 0 computed" in again.out
    assert (tmp_path / "again" / "results.csv").read_bytes() == before


def test_equal_seeds_give_equal_bytes_from_separate_empty_stores(
    finished_run, run_command: Callable[..., Finished], tmp_path: Path
) -> None:
    folder, benchmark, _ = finished_run
    env = {"EAGBENCH_STORE": str(tmp_path / "store"), "PYTHONHASHSEED": "3"}
    other = run_command("run", benchmark, "--out", tmp_path / "out", "--workers", 2, env=env)
    assert other.code == 0, other.err
    assert "0 reused" in other.out
    assert (tmp_path / "out" / "results.csv").read_bytes() == (folder / "out" / "results.csv").read_bytes()


def test_another_condition_costs_inference_only(
    finished_run, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, benchmark, _ = finished_run
    monkeypatch.setenv("EAGBENCH_STORE", str(folder / "store"))
    wider = tmp_path / "wider.yaml"
    wider.write_text(benchmark.read_text().replace("[0.3, 0.6]", "[0.3, 0.5, 0.6]"))
    planned = cli("plan", wider)
    assert planned.code == 0
    to_do = [line.split()[1] for line in planned.out.splitlines() if "to do" in line and not line.startswith("to do")]
    assert sorted(set(to_do)) == ["predict", "reference_salience", "score"]
    assert to_do.count("predict") == 3 * 2


def test_a_failed_cell_is_named_and_the_rest_is_kept(
    finished_run, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, benchmark, _ = finished_run
    monkeypatch.setenv("EAGBENCH_STORE", str(folder / "store"))
    path = tmp_path / "failing.yaml"
    path.write_text(
        benchmark.read_text().replace("  - logistic_regression", "  - {name: logistic_regression, max_iterations: 1}")
    )
    done = cli("run", path, "--out", tmp_path / "out")
    assert done.code == 1
    [line] = [line for line in done.out.splitlines() if line.startswith("failed: ")]
    assert line.startswith("failed: logistic_regression, seed 0, clean; logistic_regression, seed 0, missing_values")
    assert " and 3 more cells: expert logistic_regression: " in line
    rows = rows_of(tmp_path / "out")
    assert {r["status"] for r in rows if r["method"] == "logistic_regression"} == {"failed"}
    assert {r["status"] for r in rows if r["method"] == "lightgbm" and r["metric"] == "auroc"} == {"ok"}
    failed = json.loads((tmp_path / "out" / "manifest.json").read_text())["failed"]
    assert len(failed) == 2 * 3
    assert verify(tmp_path / "out").passed
    # Mended, the same folder takes the rest up.
    mended = cli("run", benchmark, "--out", tmp_path / "out")
    assert mended.code == 0
    assert (tmp_path / "out" / "results.csv").read_bytes() == (folder / "out" / "results.csv").read_bytes()


def test_out_of_fold_predictions_cover_every_case_once(
    cli: Cli, tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    benchmark = write_benchmark(tmp_path, physionet_root, "{folds: 3, seed: 0}")
    assert cli("run", benchmark, "--seeds", "0", "--out", tmp_path / "out").code == 0
    rows = rows_of(tmp_path / "out")
    assert {r["split"] for r in rows} == {"out_of_fold"}
    table = pq.read_table(tmp_path / "out" / "predictions" / "lightgbm.parquet").to_pylist()
    clean = [r["case_id"] for r in table if r["condition"] == "clean"]
    assert len(clean) == len(set(clean)) == int(rows[0]["n_cases"])
    assert {r["fold"] for r in table} == {0, 1, 2}
    assert verify(tmp_path / "out").passed


def test_fresh_does_not_read_the_store(finished_run, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, benchmark, _ = finished_run
    store = shutil.copytree(folder / "store", tmp_path / "store")
    monkeypatch.setenv("EAGBENCH_STORE", str(store))
    done = cli("run", benchmark, "--out", tmp_path / "out", "--fresh", "--quiet")
    assert done.code == 0
    assert "0 reused" in done.out
    assert (tmp_path / "out" / "results.csv").read_bytes() == (folder / "out" / "results.csv").read_bytes()


@pytest.mark.parametrize("format", ["md", "latex", "csv", "html"])
def test_the_report_can_be_made_again(finished_run, cli: Cli, format: str) -> None:
    folder, _, _ = finished_run
    done = cli("report", folder / "out", "--format", format)
    assert done.code == 0
    assert done.out.strip()


def test_a_report_of_something_else_is_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli("report", tmp_path)
    assert done.code == 2
    assert "not a run folder" in done.err


def test_the_benchmark_in_the_report_gives_the_same_numbers(
    finished_run, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, benchmark, _ = finished_run
    monkeypatch.setenv("EAGBENCH_STORE", str(folder / "store"))
    profiled = tmp_path / "profiled.yaml"
    profiled.write_text(benchmark.read_text() + "profiles: {one: {seeds: [1]}}\n")
    assert cli("run", profiled, "--profile", "one", "--out", tmp_path / "first").code == 0
    page = html.unescape((tmp_path / "first" / "report.html").read_text())
    [resolved] = re.findall(r">(name: small\n.*?)</pre>", page, flags=re.S)
    [command] = re.findall(r"eagbench run small\.yaml[^\n]*", page)
    (tmp_path / "small.yaml").write_text(resolved)
    monkeypatch.chdir(tmp_path)
    done = cli(*command.split()[1:])
    assert done.code == 0
    assert "stages: 0 computed" in done.out
    first, again = ((tmp_path / name / "results.csv").read_bytes() for name in ("first", "again"))
    assert first == again
