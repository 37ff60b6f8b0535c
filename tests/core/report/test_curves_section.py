"""Curves of every method with their CSV files, and thresholds: scikit-learn, results.csv, and numbers by hand."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import confusion_matrix

from eagbench.report.html import write_report
from eagbench.report.method_curves import STEPS_OF_CREDENTIALED, method_curves, n_resamples, resampled
from eagbench.report.sections.curves import curves
from eagbench.report.sections.thresholds import tuned_thresholds
from eagbench.runs.reader import RunFolder
from eagbench.stats.bootstrap import patient_weights
from eagbench.stats.curves import decision


@pytest.fixture(scope="module")
def folder(simulated_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = simulated_run.write(tmp_path_factory.mktemp("curves") / "run")
    write_report(RunFolder(made))
    return made


def area(rows: pd.DataFrame, x: str, y: str) -> float:
    return float(np.trapezoid(rows[y], rows[x]))


@pytest.mark.parametrize(
    ("name", "x", "y", "metric"),
    [
        ("roc", "false_positive_rate", "true_positive_rate", "auroc"),
        ("precision_recall", "recall", "precision", "auprc"),
    ],
)
def test_the_areas_of_the_csv_are_the_results(folder: Path, name: str, x: str, y: str, metric: str) -> None:
    table = pd.read_csv(folder / "figures" / f"{name}.csv", dtype={"seed": str})
    results = pd.read_csv(folder / "results.csv", dtype={"seed": str})
    results = results[(results["condition"] == "clean") & (results["metric"] == metric)]
    curve = table[table["part"] == "curve"]
    methods = results["method"].unique()
    assert set(curve["method"]) == set(methods)
    for method in methods:
        mine = results[results["method"] == method].set_index("seed")["value"]
        its = curve[curve["method"] == method]
        for seed in mine.index if method != "oracle" else ["mean"]:
            rows = its[its["seed"] == seed] if method != "oracle" else its
            assert area(rows, x, y) == pytest.approx(mine[seed], abs=1e-9)
    banded = table[table["part"] == "interval"]
    assert (banded["ci_low"] <= banded["ci_high"]).all()
    # A percentile interval need not hold its value, but nearly all of these do.
    assert ((banded["ci_low"] <= banded[y] + 1e-9) & (banded[y] <= banded["ci_high"] + 1e-9)).mean() > 0.95


def test_the_decision_curve_is_the_mean_of_the_seeds(folder: Path) -> None:
    run = RunFolder(folder)
    answers = run.answers(run.groups[0], "lightgbm")
    assert answers is not None
    table = pd.read_csv(folder / "figures" / "decision.csv")
    mine = table[(table["method"] == "lightgbm") & (table["part"] == "interval")]
    at = mine["threshold"].to_numpy()
    expected = [
        decision(
            answers.probability[[s == seed for s in answers.seed]], answers.label[[s == seed for s in answers.seed]], at
        )
        for seed in ("0", "1")
    ]
    np.testing.assert_allclose(mine["net_benefit"], np.mean(expected, axis=0), atol=1e-12)
    everybody = table[table["method"] == "treat all"].set_index("threshold")["net_benefit"]
    rate = answers.label.mean()
    assert everybody[0.5] == pytest.approx(rate - (1 - rate))
    assert (table[table["method"] == "treat none"]["net_benefit"] == 0).all()


def test_intervals_are_those_of_the_patients_drawn_jointly(folder: Path) -> None:
    """Draw the same resamples, and compute the net benefit at 0.5 (true less false positives) with scikit-learn."""
    run = RunFolder(folder)
    answers = run.answers(run.groups[0], "eag_rl")
    assert answers is not None
    found = method_curves(run, answers)
    assert found is not None
    intervals = run.manifest["intervals"]
    assert n_resamples(run) == min(500, intervals["resamples"])
    weights = patient_weights(answers.patient_id, n_resamples(run), int(intervals["seed"]))
    draws = []
    for row in weights:
        of_seeds = []
        for seed in ("0", "1"):
            kept = np.array([s == seed for s in answers.seed])
            p, y, w = answers.probability[kept], answers.label[kept], row[kept]
            (_, false), (_, true) = confusion_matrix(y, p >= 0.5, sample_weight=w, labels=[0, 1])
            of_seeds.append((true - false) / w.sum())
        draws.append(np.mean(of_seeds))
    low, high = np.quantile(draws, [0.025, 0.975])
    place = int(np.flatnonzero(np.isclose(found.decision.at, 0.5))[0])
    assert (found.decision.low[place], found.decision.high[place]) == pytest.approx((low, high))


def test_a_seed_without_a_readable_answer_has_no_curve_and_the_figure_says_so(
    simulated_run: Any, tmp_path: Path
) -> None:
    made = simulated_run.write(tmp_path / "run")
    path = made / "predictions" / "eag_rl.parquet"
    table = pq.read_table(path)
    parsed = [p and int(seed) != 1 for p, seed in zip(*(table[c].to_pylist() for c in ("parsed", "seed")), strict=True)]
    place = table.schema.get_field_index("parsed")
    pq.write_table(table.set_column(place, "parsed", pa.array(parsed)), path)
    run = RunFolder(made)
    section = curves(run, run.groups[0])
    assert section is not None
    page = write_report(run).read_text()
    assert "1 of 2 seeds" in page
    rows = list(csv.DictReader((made / "figures" / "roc.csv").open()))
    assert {row["seed"] for row in rows if row["method"] == "eag_rl"} == {"0"}


def test_credentialed_curves_show_no_single_step(simulated_run: Any, tmp_path: Path) -> None:
    made = simulated_run.write(tmp_path / "run", access="credentialed")
    page = write_report(RunFolder(made)).read_text()
    assert "no step shows a single case" in page
    table = pd.read_csv(made / "figures" / "roc.csv")
    assert len(table["false_positive_rate"].unique()) <= STEPS_OF_CREDENTIALED + 1


def test_thresholds_fixed_on_tuning_cases_are_applied_to_held_out_ones(simulated_run: Any, tmp_path: Path) -> None:
    made = simulated_run.write(tmp_path / "run")
    run = RunFolder(made)
    group = run.groups[0]
    answers = run.answers(group, "lightgbm")
    assert answers is not None
    assert tuned_thresholds(run, group, {"lightgbm": answers}) is None
    # Ten cases without the event: at a specificity of 0.9 one of them is flagged, at the threshold 0.3 of an event.
    tuning = [("lightgbm", seed, "mimic4", 0, f"t{i}", p, y) for seed in (0, 1) for i, (p, y) in enumerate(
        [(0.8, 1), (0.3, 1), (0.4, 0), *((0.01 * k, 0) for k in range(9))]
    )]  # fmt: skip
    names = ("method", "seed", "domain_train", "fold", "case_id", "probability", "label")
    pq.write_table(
        pa.table(dict(zip(names, map(list, zip(*tuning, strict=True)), strict=True))),
        made / "tuning_predictions.parquet",
    )
    table = tuned_thresholds(run, group, {"lightgbm": answers})
    assert table is not None
    line = next(line for line in table.lines if line.entries[0].text == "specificity \u2265 0.90")
    of_seeds = []
    for seed in ("0", "1"):
        kept = np.array([s == seed for s in answers.seed])
        tn, fp, fn, tp = confusion_matrix(answers.label[kept], answers.probability[kept] >= 0.3).ravel()
        of_seeds.append((tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), 100 * (tp + fp) / kept.sum()))
    sensitivity, specificity, precision, alerts = np.mean(of_seeds, axis=0)
    assert [entry.text for entry in line.entries[1:]] == [
        f"{sensitivity:.3f}", f"{specificity:.3f}", f"{precision:.3f}", f"{alerts:.1f}", "0.300",
    ]  # fmt: skip
    assert all(entry.note for entry in line.entries[1:5])
    assert "12 cases, 2 events" in table.caption


def test_the_section_says_what_a_curve_stands_for(folder: Path, simulated_run: Any, tmp_path: Path) -> None:
    run = RunFolder(folder)
    section = curves(run, run.groups[0])
    assert section is not None
    said = json.dumps([getattr(block, "text", getattr(block, "caption", "")) for block in section.blocks])
    assert "never put into one curve" in said
    assert "training prevalence" in said
    table = next(block.table for block in section.blocks if hasattr(block, "table"))
    assert "a threshold for use must be fixed on other patients" in table.caption
    assert f"n = {len(simulated_run.label)} evaluated cases" in table.caption


@pytest.mark.parametrize(("patients", "is_enough"), [(4, False), (5, True)])
def test_a_curve_over_few_patients_with_the_event_has_no_band(folder: Path, patients: int, is_enough: bool) -> None:
    run = RunFolder(folder)
    answers = run.answers(run.groups[0], "lightgbm")
    assert answers is not None
    events = sorted(set(answers.patient_id))[:patients]
    few = replace(answers, label=np.array([int(patient in events) for patient in answers.patient_id]))
    draws = resampled(run, few, lambda weights: weights.mean(axis=1)[None])
    assert np.isfinite(draws).all() == is_enough
    assert draws.shape == (1, n_resamples(run))
