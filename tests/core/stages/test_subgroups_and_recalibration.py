"""Subgroups and recalibration: the stages by themselves, and a run on real records with both."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from eagbench.analysis.evaluation import evaluate_subgroups
from eagbench.analysis.metric_uses import MetricUse
from eagbench.analysis.scored_table import SCORED_SCHEMA
from eagbench.contracts.stages import StageRun
from eagbench.execution.stage_files import file_hash
from eagbench.runs.verify.verify import verify
from eagbench.stages import recalibration, subgroups
from eagbench.stats.bootstrap import patient_weights
from tests.builders import make_cases, make_training_data
from tests.conftest import Finished
from tests.core.runs.test_run import write_benchmark

METRICS = [MetricUse.registered("auroc", {}), MetricUse.registered("brier", {})]
INTERVALS = {"resamples": 200, "level": 0.95, "seed": 0}
MINIMUM = {"minimum_cases": 30, "minimum_positive": 5}


@pytest.mark.parametrize(
    ("age", "band"),
    [(17.9, "under 18"), (18, "18-44"), (44.9, "18-44"), (45, "45-64"), (79, "65-79"), (80, "80+"), (300, "80+")],
)
def test_age_bands_hold_their_lower_edge(age: float, band: str) -> None:
    assert subgroups.age_band(age, (18, 45, 65, 80)) == band


def test_bands_are_shown_by_age_and_the_unknown_last() -> None:
    names = ["age=80+", "sex=male", "age=unknown", "age=under 18", "age=18-44", "sex=female", "age=100+"]
    assert sorted(names, key=subgroups.band_order) == [
        "age=under 18", "age=18-44", "age=80+", "age=100+", "age=unknown", "sex=female", "sex=male",
    ]  # fmt: skip


def scored_rows(n: int = 120) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    label = rng.random(n) < 0.3
    empty: dict[str, Any] = dict.fromkeys(SCORED_SCHEMA.names)
    return [
        {**empty, "case_id": f"c{i:03d}", "patient_id": f"p{i // 2:03d}", "parsed": True, "label": int(label[i])}
        | {"probability": float(1 / (1 + np.exp(-rng.normal(1.5 * label[i] - 1))))}
        for i in range(n)
    ]


def test_a_subgroup_takes_its_part_of_the_joint_resamples() -> None:
    rows = scored_rows()
    members = {"a": frozenset(f"c{i:03d}" for i in range(0, 80)), "b": frozenset({"c100", "c101"})}
    found = evaluate_subgroups(rows, members, METRICS, INTERVALS, MINIMUM)
    mine = rows[:80]
    label, p = (np.array([r[key] for r in mine]) for key in ("label", "probability"))
    assert (found["a"].n_cases, found["a"].n_positive) == (80, label.sum())
    assert found["a"].points["auroc"] == pytest.approx(roc_auc_score(label, p))
    weights = patient_weights([r["patient_id"] for r in rows], 200, 0)[:, :80]
    expected = [brier_score_loss(label, p, sample_weight=w) for w in weights]
    assert found["a"].draws["brier"] == pytest.approx(np.array(expected))


def test_a_small_subgroup_has_counts_and_no_numbers() -> None:
    rows = scored_rows()
    events = [r["case_id"] for r in rows if r["label"]]
    others = [r["case_id"] for r in rows if not r["label"]]
    members = {
        "few": frozenset(r["case_id"] for r in rows[:29]),
        "rare": frozenset([*others[:60], *events[:4]]),
        "nearly_all": frozenset([*events[:30], *others[:4]]),
        "enough": frozenset([*others[:25], *events[:5]]),
        "nobody": frozenset({"elsewhere"}),
    }
    found = evaluate_subgroups(rows, members, METRICS, INTERVALS, MINIMUM)
    assert {name: bool(numbers.points) for name, numbers in found.items()} == {
        "few": False, "rare": False, "nearly_all": False, "enough": True,
    }  # fmt: skip
    assert found["rare"].n_positive == 4


def test_recalibration_is_fitted_on_tuning_cases_alone(tmp_path: Path) -> None:
    data = make_training_data(make_cases(400, {"a": 1.0}, seed=1), 250)
    rng = np.random.default_rng(0)
    p = np.clip(0.1 + 0.2 * data.tuning.labels + 0.6 * rng.random(250), 0.01, 0.99)
    probability = [float(v) if i >= 20 else None for i, v in enumerate(p)]  # twenty could not be read
    (tmp_path / "predictions").mkdir()
    (tmp_path / "out").mkdir()
    rows = {"case_id": list(data.tuning.cases.case_ids), "probability": probability}
    pq.write_table(pa.table(rows), tmp_path / "predictions" / "predictions.parquet")
    inputs = {"predictions": tmp_path / "predictions", "training": data}
    recalibration.fit(StageRun(params={}, inputs=inputs, seed=0, out=tmp_path / "out"))
    found = recalibration.read_recalibration(tmp_path / "out")
    x = np.log(p[20:] / (1 - p[20:]))[:, None]
    reference = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(x, data.tuning.labels[20:])
    assert found.n_cases == 230
    assert found.slope == pytest.approx(reference.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(reference.intercept_[0], rel=1e-3)

    pq.write_table(pa.table({"case_id": ["x"], "probability": [0.5]}), tmp_path / "predictions" / "predictions.parquet")
    with pytest.raises(ValueError, match="tuning cases"):
        recalibration.fit(StageRun(params={}, inputs=inputs, seed=0, out=tmp_path / "out"))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def finished(cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path, store_folder: Path) -> Path:
    """400 stays; 128 of them tune, so that some fits have enough events."""
    path = write_benchmark(tmp_path, physionet_root, "{train: 0.3, tuning: 0.4, held_out: 0.3}")
    text = path.read_text().replace("severity: [0.3, 0.6]", "severity: [0.5]")
    text = text.replace("seeds: [0, 1]", "seeds: [0]").replace("metrics: [", "metrics: [calibration_slope, ")
    path.write_text(
        text
        + "recalibrate: true\ncomparisons: {method: lightgbm, metric: auroc}\n"
        + "intervals: {resamples: 100, auroc: logit}\n"
        + "subgroups: {by: [sex, age, icu_type], minimum_cases: 20, minimum_positive: 3}\n"
    )
    done = cli("run", path, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    return tmp_path / "out"


def test_a_run_with_subgroups_and_recalibration(finished: Path, cli: Callable[..., Finished], tmp_path: Path) -> None:
    rows = read(finished / "results.csv")
    manifest = json.loads((finished / "manifest.json").read_text())
    apart = [row for row in rows if row["subgroup"] != "all"]
    assert {row["condition"] for row in apart} == {"clean"}
    assert {row["status"] for row in apart if row["metric"] == "auroc"} == {"ok", "too_few"}
    assert all(row["value"] == "" for row in apart if row["status"] == "too_few")
    predictions = pq.read_table(finished / "predictions" / "lightgbm.parquet").to_pylist()
    clean = {r["case_id"]: r for r in predictions if r["condition"] == "clean"}
    members = {r["case_id"]: r["subgroup"] for r in pq.read_table(finished / "subgroups.parquet").to_pylist()
               if r["subgroup"].startswith("sex=")}  # fmt: skip
    assert set(members) == set(clean)
    for sex in ("female", "male"):
        mine = [r for case_id, r in clean.items() if members[case_id] == f"sex={sex}"]
        (row,) = [
            r for r in apart
            if (r["method"], r["seed"], r["metric"], r["subgroup"], r["calibration"])
            == ("lightgbm", "0", "brier", f"sex={sex}", "none")
        ]  # fmt: skip
        expected = brier_score_loss([r["label"] for r in mine], [r["probability"] for r in mine])
        assert float(row["value"]) == pytest.approx(expected)
        assert int(row["n_cases"]) == len(mine)

    curves = {curve["method"]: curve for curve in manifest["recalibration"]}
    assert set(curves) == {"lightgbm", "deep", "logistic_regression"}
    for method, curve in curves.items():
        again = [r for r in rows if (r["method"], r["calibration"]) == (method, "recalibrated")]
        again = [r for r in again if r["subgroup"] == "all"]
        assert {(r["condition"], r["metric"]) for r in again} == {
            (c, m) for c in ("clean", "missing_values") for m in ("calibration_slope", "auroc", "auprc", "brier", "ece")
        }
        assert {r["status"] for r in again} == ({"ok"} if curve["reason"] is None else {"not_applicable"})
    fitted = [method for method, curve in curves.items() if curve["reason"] is None]
    assert fitted, curves
    table = pq.read_table(finished / "predictions" / f"{fitted[0]}.parquet").to_pylist()
    curve = curves[fitted[0]]
    for r in table:
        odds = np.log(r["probability"] / (1 - r["probability"]))
        expected = 1 / (1 + np.exp(-(curve["intercept"] + curve["slope"] * odds)))
        assert r["recalibrated"] == pytest.approx(expected, abs=1e-9)

    # The table of calibration has a row per method and kind of answer, and the main table no column for the slope.
    [calibration] = [b for b in cli("report", finished, "--format", "md").out.split("\n\n") if "| Slope |" in b]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in calibration.splitlines()[2:]]
    assert [row[:2] for row in cells if row[0] == fitted[0]] == [
        [fitted[0], "as answered"],
        [fitted[0], "recalibrated"],
    ]
    for kind, calibration_of in (("as answered", "none"), ("recalibrated", "recalibrated")):
        (row,) = [
            r for r in rows
            if (r["method"], r["seed"], r["condition"], r["metric"], r["subgroup"], r["calibration"])
            == (fitted[0], "mean", "clean", "calibration_slope", "all", calibration_of)
        ]  # fmt: skip
        shown = next(cell for cell in cells if cell[:2] == [fitted[0], kind])[-1]
        assert shown.startswith(f"{float(row['value']):.3f}")

    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "AUROC ↑ within subgroups, one panel per method" in page
    assert ">too few</text>" in page
    assert page.count(">recalibrated</text>") == len(fitted)
    assert page.count(">not recalibrated</text>") == len(curves) - len(fitted)
    assert [c["severity_unit"] for c in manifest["conditions"]] == [None, "share of the measurements"]
    assert ">severity: share of the measurements</text>" in page

    findings = verify(finished)
    assert findings.passed, findings.problems
    assert findings.checked["recalibrations fitted again"] == 3
    empty = [row for row in read(finished / "results.csv") if row["status"] not in ("ok", "undefined")]
    assert {row["status"] for row in empty} >= {"too_few"}
    assert findings.checked["cells without a number"] == len(empty)
    assert findings.checked["robustness summaries recomputed"] == len(read(finished / "robustness.csv")) > 10

    changed = shutil.copytree(finished, tmp_path / "changed")
    tampered = manifest | {"recalibration": [{**c, "slope": c["slope"] and c["slope"] + 0.1} for c in curves.values()]}
    lines = (changed / "robustness.csv").read_text().splitlines()
    (changed / "robustness.csv").write_text("\n".join([lines[0], lines[1].replace("degradation", "area"), *lines[2:]]))
    text = (changed / "results.csv").read_text().replace("too_few", "ok", 1)
    (changed / "results.csv").write_text(text)
    for name in ("robustness.csv", "results.csv"):
        tampered["files"][name] = file_hash(changed / name)
    (changed / "manifest.json").write_text(json.dumps(tampered))
    problems = "\n".join(verify(changed).problems)
    assert "recalibration of" in problems
    assert "robustness.csv" in problems
    assert "status is 'ok', recomputed 'too_few'" in problems


def test_a_fact_that_the_data_do_not_have(
    cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    path = write_benchmark(tmp_path, physionet_root)
    path.write_text(path.read_text() + "subgroups: {by: [insurance]}\n")
    done = cli("run", path, "--out", tmp_path / "out")
    assert done.code == 2
    assert "by 'insurance'" in done.err
    assert "icu_type" in done.err
