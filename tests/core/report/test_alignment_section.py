"""Alignment with the reference expert: its table and what is said of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from eagbench.analysis.metric_uses import MetricUse
from eagbench.report.html import write_report
from eagbench.report.text import render
from eagbench.report.wording import EN_DASH, MINUS
from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import COMPARISON_COLUMNS
from tests.core.report.conftest import measure
from tests.core.report.test_html import Page

# method: (value, low, high) of the excess over a constant list
EXCESS = {
    "eag_rl": (0.12, 0.05, 0.19),
    "prompt_think_answer": (3e-18, 1e-18, 4e-18),  # nothing but rounding
    "prompt_question_decomposition": (-0.1, -0.14, -0.06),
}


@pytest.fixture
def run_folder(simulated_run, tmp_path: Path) -> Path:
    folder = simulated_run.write(tmp_path / "run")
    path = folder / "results.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    measured = [r for r in rows if r["metric"] == "citation_jaccard" and r["condition"] == "clean"]
    for row in measured:
        numbers = EXCESS.get(row["method"])
        values = dict.fromkeys(("value", "ci_low", "ci_high"), "")
        status = "undefined"
        if numbers is not None:
            values = dict(zip(values, map(str, numbers), strict=True))
            status = "ok"
        rows.append({**row, "metric": "alignment_over_constant", **values, "status": status})
        cited = {"value": "3.25", "ci_low": "3.1", "ci_high": "3.4"} if numbers else values
        rows.append({**row, "metric": "cited_features", **cited, "status": status})
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    measure(folder, *(MetricUse.registered(name, {}) for name in ("alignment_over_constant", "cited_features")))
    return folder


def test_the_table_and_the_sentence(run_folder: Path) -> None:
    page = Page(write_report(RunFolder(run_folder)).read_text(encoding="utf-8"))
    section = page.words[page.words.rindex("Alignment with the reference expert (concare)") - 900 :]
    assert (
        "Beyond a constant list: the interval lies above 0 for eag_rl; it contains 0 for "
        "prompt_think_answer; it lies below 0 for prompt_question_decomposition."
    ) in section
    assert f"0.120 0.050{EN_DASH}0.190" in section
    assert f"{MINUS}0.100 {MINUS}0.140 to {MINUS}0.060" in section
    assert f"3.250 3.100{EN_DASH}3.400" in section
    table = section[section.index("Method Citation overlap") : section.index("What the answers cite")]
    assert "lightgbm" not in table  # an expert cites nothing


def test_the_main_table_is_not_widened(run_folder: Path) -> None:
    page = Page(write_report(RunFolder(run_folder)).read_text(encoding="utf-8"))
    main = page.words[page.words.index("Table 1.") : page.words.index("Figure 1.")]
    assert "Citation overlap" in main
    assert "Beyond a constant list" not in main
    assert "Beyond a constant list" in render(RunFolder(run_folder), "md")


def test_a_run_that_measured_no_chance_says_so(simulated_run, tmp_path: Path) -> None:
    folder = simulated_run.write(tmp_path / "run")
    words = Page(write_report(RunFolder(folder)).read_text(encoding="utf-8")).words
    assert "can't be told from chance" in words
    assert "Another patient's list" not in words


def test_a_run_without_an_expert_has_no_such_section(simulated_run, tmp_path: Path) -> None:
    folder = simulated_run.write(tmp_path / "run")
    path = folder / "results.csv"
    kept = [line for line in path.read_text().splitlines(keepends=True) if "citation_jaccard" not in line]
    path.write_text("".join(kept))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["benchmark"].pop("reference_expert")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert 'id="alignment"' not in write_report(RunFolder(folder)).read_text()


def test_the_tested_method_is_compared_in_its_excess(run_folder: Path) -> None:
    """Issue: the excess after Stage II is above that after Stage I, or the report says that it is not."""
    manifest = json.loads((run_folder / "manifest.json").read_text())
    manifest["comparisons"] = {"method": "eag_rl", "metric": "auroc"}
    (run_folder / "manifest.json").write_text(json.dumps(manifest))
    with (run_folder / "results.csv").open(newline="") as stream:
        result = next(row for row in csv.DictReader(stream) if row["metric"] == "alignment_over_constant")
    row = {column: result.get(column, "0.1") for column in COMPARISON_COLUMNS}
    row |= {"family": "grid", "metric": "alignment_over_constant", "condition": "clean", "severity": ""}
    row |= {
        "calibration": "none",
        "method": "eag_rl",
        "correction": "benjamini_hochberg",
        "smallest_detectable": "0.01",
    }
    rows = [
        {**row, "baseline": "prompt_think_answer", "difference": "-0.2", "p_corrected": "0.01"},
        {**row, "baseline": "prompt_question_decomposition", "difference": "0.2", "p_corrected": "0.6"},
    ]
    with (run_folder / "comparisons.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COMPARISON_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    words = Page(write_report(RunFolder(run_folder)).read_text(encoding="utf-8")).words
    assert (
        "Beyond a constant list, eag_rl against others. At 5 % after correction: the excess of eag_rl is lower than "
        "that of prompt_think_answer; no difference is shown from prompt_question_decomposition"
    ) in words
