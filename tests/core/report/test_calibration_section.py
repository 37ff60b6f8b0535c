"""Reliability diagrams, as answered and after recalibration on tuning cases."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.calibration import calibration_curve

from eagbench.analysis.metric_uses import MetricUse
from eagbench.report.figures.estimates import Estimate, looks
from eagbench.report.figures.reliability import ReliabilityCurve, ReliabilityPanel, reliability
from eagbench.report.html import write_report
from eagbench.report.sections.calibration import calibration_table, reliability_panel
from eagbench.runs.reader import RunFolder
from tests.core.report.conftest import measure

FITTED = {"seed": 0, "domain_train": "mimic4", "fold": 0, "intercept": 0.3, "slope": 0.6, "reason": None}
NAN = float("nan")


@pytest.fixture
def recalibrated_run(simulated_run, tmp_path: Path) -> Path:
    """LightGBM and ConCare are recalibrated, ConCare for one of its two seeds only; nothing else is."""
    curves = [{**FITTED, "method": method} for method in ("lightgbm", "concare")]
    folder = simulated_run.write(tmp_path / "run", recalibration=curves)
    for path in (folder / "predictions").glob("*.parquet"):
        table = pq.read_table(path)
        odds = np.log(table["probability"].to_numpy().clip(1e-9, 1 - 1e-9))
        fitted = 1 / (1 + np.exp(-(0.3 + 0.6 * odds)))
        seeds = {"lightgbm": (0, 1), "concare": (0,)}.get(path.stem, ())
        kept = [float(p) if seed in seeds else None for p, seed in zip(fitted, table["seed"].to_pylist(), strict=True)]
        pq.write_table(table.append_column("recalibrated", pa.array(kept, pa.float64())), path)
    return folder


def panel_of(folder: Path, method: str) -> ReliabilityPanel:
    run = RunFolder(folder)
    answers = run.answers(run.groups[0], method)
    assert answers is not None
    return reliability_panel(run, method, answers)


def test_points_equal_scikit_learn(simulated_run, tmp_path: Path) -> None:
    run = RunFolder(simulated_run.write(tmp_path / "run"))
    answers = run.answers(run.groups[0], "lightgbm")
    assert len(answers.label) == 2 * 250  # both seeds
    panel = reliability_panel(run, "lightgbm", answers)
    assert panel.recalibrated is None
    curve = panel.answered
    rate, mean = calibration_curve(answers.label, answers.probability, n_bins=10, strategy="uniform")
    np.testing.assert_allclose([m for m, _ in curve.points], mean)
    np.testing.assert_allclose([r.value for _, r in curve.points], rate)
    assert sum(curve.counts) == 500
    for (_, estimate), n in zip(curve.points, [c for c in curve.counts if c], strict=True):
        if n >= 60:
            assert estimate.low <= estimate.value <= estimate.high
            # Twice the same patients: the interval must be that of about n / 2 independent cases, not of n.
            half = 1.96 * np.sqrt(estimate.value * (1 - estimate.value) / (n / 2))
            assert (estimate.high - estimate.low) / 2 == pytest.approx(half, rel=0.45)


def test_recalibrated_points_equal_scikit_learn_in_the_same_bins(recalibrated_run: Path) -> None:
    run = RunFolder(recalibrated_run)
    answers = run.answers(run.groups[0], "lightgbm")
    panel = panel_of(recalibrated_run, "lightgbm")
    for curve, probability in ((panel.answered, answers.probability), (panel.recalibrated, answers.recalibrated)):
        rate, mean = calibration_curve(answers.label, probability, n_bins=10, strategy="uniform")
        np.testing.assert_allclose([m for m, _ in curve.points], mean)
        np.testing.assert_allclose([r.value for _, r in curve.points], rate)
        assert len(curve.counts) == 10
    assert panel.answered.points != panel.recalibrated.points


def test_answers_recalibrated_in_part_have_no_second_curve(recalibrated_run: Path) -> None:
    assert panel_of(recalibrated_run, "concare").recalibrated is None
    assert panel_of(recalibrated_run, "logistic_regression").recalibrated is None


def test_the_page_has_a_legend_where_there_are_two_curves(recalibrated_run: Path, simulated_run, tmp_path) -> None:
    diagrams = picture(write_report(RunFolder(recalibrated_run)).read_text(encoding="utf-8"))
    said = [element.text for element in diagrams if element.text]
    assert said.count("recalibrated") == said.count("as answered") == 1
    assert said.count("not recalibrated") == 6  # five methods and the oracle
    plain = write_report(RunFolder(simulated_run.write(tmp_path / "plain"))).read_text(encoding="utf-8")
    assert not {e.text for e in picture(plain)} & {"recalibrated", "not recalibrated", "as answered"}
    assert "dashed: the same answers" not in plain


def picture(page: str) -> ElementTree.Element:
    (found,) = re.findall(r'<svg [^>]*aria-label="Reliability diagrams.*?</svg>', page)
    return ElementTree.fromstring(found)


def test_curves_differ_in_line_and_colour_and_few_patients_are_hollow() -> None:
    answered = ReliabilityCurve([(0.1, Estimate(0.1, 0.05, 0.2)), (0.5, Estimate(0.4, 0.3, 0.5))], [8, 4])
    again = ReliabilityCurve(
        [(0.2, Estimate(0.1, 0.05, 0.2)), (0.6, Estimate(0.4, 0.3, 0.5)), (0.9, Estimate(1.0, NAN, NAN))], [6, 6]
    )
    root = ElementTree.fromstring(reliability([ReliabilityPanel("a", "", answered, again)], looks(["a"])))
    lines = [e for e in root if (e.get("class") or "").startswith("curve")][2:]  # after those of the legend
    assert [e.get("class") for e in lines] == ["curve thin", "curve thin dashed"]
    assert len({e.get("stroke") for e in lines}) == 2
    assert len([e for e in root if e.get("class") == "hollow"]) == 1
    bars = [float(e.get("height")) for e in root if e.get("class") == "bar"]
    assert np.array(bars) / max(bars) == pytest.approx([1, 0.5, 0.75, 0.75], abs=0.01)


def test_the_generators_own_probabilities_stand_in_the_table_of_calibration(simulated_run, tmp_path: Path) -> None:
    """Their slope is the yardstick: the best that anybody could have."""
    folder = simulated_run.write(tmp_path / "run")
    results = pd.read_csv(folder / "results.csv")
    slopes = results[results.metric == "brier"].assign(metric="calibration_slope")
    pd.concat([results, slopes]).to_csv(folder / "results.csv", index=False)
    measure(folder, MetricUse.registered("calibration_slope", {}))
    run = RunFolder(folder)
    table = calibration_table(run, run.groups[0])
    assert table is not None
    assert {line.name for line in table.lines if line.reference} == {"oracle"}
    assert {line.name for line in table.lines if not line.reference} == {*run.methods}
