"""The first lines of a report: who is best, whether a test shows it, what breaks whom, on what."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from eagbench.report.answer.lines import answer
from eagbench.report.answer.losses import domain_sentence
from eagbench.report.html import report_files
from eagbench.report.text import headline, render
from eagbench.runs.folder import REPORT
from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import COMPARISON_COLUMNS, ROBUSTNESS_COLUMNS
from tests.core.report.test_html import Page
from tests.core.report.test_untested_differences import PLACE, SIZES, write

# The values on unchanged records; a higher Brier score is worse.
AUROC = {"lightgbm": 0.8, "logistic_regression": 0.75, "concare": 0.7}
BRIER = {"lightgbm": 0.12, "logistic_regression": 0.11, "concare": 0.2}
PRIMARY = {**PLACE, **SIZES, "domain_eval": "mimic4", "family": "primary", "metric": "auroc", "calibration": "none"} | {
    "condition": "clean", "method": "logistic_regression", "correction": "holm", "smallest_detectable": 0.08,
}  # fmt: skip
LOSS = {**PLACE, **SIZES, "domain_eval": "mimic4", "summary": "degradation", "metric": "auroc", "calibration": "none"}


@pytest.fixture
def folder(simulated_run: Any, tmp_path: Path) -> Path:
    """A run of three methods with known values, and with losses under `missing_values`."""
    path: Path = simulated_run.write(tmp_path / "run", synthetic=False)
    known = {"auroc": AUROC, "brier": BRIER}
    lost = {"lightgbm": 0.1, "logistic_regression": 0.02, "concare": -0.05}

    def value(row: dict[str, str]) -> dict[str, str]:
        at = known[row["metric"]][row["method"]]
        if row["condition"] != "clean":
            at -= lost[row["method"]] if (row["condition"], row["severity"]) == ("missing_values", "0.5") else 0.0
        return row | {"value": str(at), "ci_low": str(at - 0.04), "ci_high": str(at + 0.04), "status": "ok"}

    change(path, lambda rows: [value(r) for r in rows if r["metric"] in known and r["method"] in AUROC])
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["methods"] = [method for method in manifest["methods"] if method["label"] in AUROC]
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def change(path: Path, edit: Any) -> None:
    with (path / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    write(path / "results.csv", tuple(rows[0]), edit(rows))


def compare(path: Path, *rows: dict[str, object]) -> None:
    """Name logistic_regression as the method under test, with these differences from the others."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["comparisons"] = {"method": "logistic_regression", "metric": "auroc"}
    (path / "manifest.json").write_text(json.dumps(manifest))
    write(path / "comparisons.csv", COMPARISON_COLUMNS, [PRIMARY | {"test": str(i)} | r for i, r in enumerate(rows)])


def lines(path: Path) -> dict[str, str]:
    return {point.topic: point.text for point in answer(RunFolder(path))}


def test_the_best_comes_first_and_the_next_is_named(folder: Path) -> None:
    said = lines(folder)
    assert next(iter(said)) == "Best"
    assert said["Best"].startswith("lightgbm has the highest AUROC on unchanged records: 0.800 (0.760\u20130.840).")
    assert "logistic_regression comes next with 0.750" in said["Best"]
    assert said["Other metrics"] == "The best point estimate is that of logistic_regression by Brier score."
    assert "250 held-out cases" in said["On"]
    assert "mean over 2 training seeds" in said["On"]


def test_a_difference_that_no_test_was_made_of_is_no_claim(folder: Path) -> None:
    text = lines(folder)["Difference"]
    assert "Between lightgbm and logistic_regression it is 0.050" in text
    assert "does not test that difference" in text
    assert "shown" not in text
    assert "Under test" not in lines(folder)


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        # logistic_regression less lightgbm: turned round, lightgbm is ahead.
        (-0.09, -0.01, 0.02, "is better than logistic_regression by 0.050 (0.010 to 0.090; p corrected 0.020)"),
        (-0.13, 0.03, 0.4, "and logistic_regression is shown: 0.050 (\u22120.030 to 0.130; p corrected 0.400)"),
        (-0.09, -0.01, 0.06, "No difference between lightgbm and logistic_regression is shown: "),  # after correction
    ],
)  # fmt: skip
def test_a_tested_difference_is_turned_towards_the_best(
    folder: Path, low: float, high: float, p: float, said: str
) -> None:
    row = {"baseline": "lightgbm", "difference": -0.05, "ci_low": low, "ci_high": high, "p_value": p, "p_corrected": p}
    compare(folder, row)
    text = lines(folder)["Difference"]
    assert said in text
    assert ("the difference is shown" in text) == (p <= 0.05)
    assert ("only a difference of 0.080 or more would show" in text) == (p > 0.05)


def test_the_other_tests_of_the_method_are_said_once(folder: Path) -> None:
    tested = {"p_value": 0.02, "p_corrected": 0.04}
    compare(
        folder,
        {"baseline": "lightgbm", "difference": -0.05, "ci_low": -0.09, "ci_high": -0.01, **tested},
        {"baseline": "concare", "difference": 0.05, "ci_low": 0.01, "ci_high": 0.09, **tested},
    )
    assert lines(folder)["Under test"] == (
        "At 5 % after correction: AUROC of logistic_regression is higher than that of concare."
    )


def test_the_largest_losses_have_their_intervals(folder: Path) -> None:
    row = {"condition": "missing_values", "severity": 0.5, "method": "lightgbm", "baseline": "", "value": 0.1}
    rows = [LOSS | row | {"ci_low": 0.04, "ci_high": 0.16, "p_value": 0.01, "test": "x", "p_corrected": 0.03}]
    rows.append(LOSS | row | {"method": "logistic_regression", "value": 0.02, "ci_low": -0.01, "ci_high": 0.05})
    write(folder / "robustness.csv", ROBUSTNESS_COLUMNS, rows)
    text = lines(folder)["What breaks whom"]
    assert text.startswith(
        "In AUROC, lightgbm loses most under missing_values 0.5, 0.100 (0.040 to 0.160; p corrected 0.030); "
        "logistic_regression loses most under missing_values 0.5, 0.020 (\u22120.010 to 0.050)."
    )
    assert "concare" not in text  # it gains
    assert "chosen afterwards" in text
    assert "Where the interval includes 0, no loss is shown." in text


def test_equal_values_share_the_first_place(folder: Path) -> None:
    change(folder, lambda rows: [row | {"value": "0.8"} if row["metric"] == "auroc" else row for row in rows])
    said = lines(folder)
    assert said["Best"].startswith("logistic_regression, lightgbm and concare share the highest AUROC")
    assert "Difference" not in said


def test_for_a_metric_that_is_better_when_lower_the_lowest_is_best(folder: Path) -> None:
    compare(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["comparisons"]["metric"] = "brier"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert lines(folder)["Best"].startswith(
        "logistic_regression has the lowest Brier score on unchanged records: 0.110"
    )


def test_several_pairs_of_domains_are_counted_and_named(folder: Path) -> None:
    def elsewhere(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        there = [row | {"domain_eval": "eicu"} for row in rows if row["condition"] == "clean"]
        better = [row | {"value": "0.9"} if row["method"] == "concare" else row for row in there]
        return [*rows, *better]

    change(folder, elsewhere)
    said = lines(folder)
    assert "lightgbm in 1 of 2, concare in 1 of 2" in said["Best"]
    [text] = [text for topic, text in said.items() if "evaluated on eicu" in topic]
    assert text.startswith("concare has the highest AUROC on unchanged records: 0.900")


def test_page_markdown_latex_and_terminal_begin_or_end_with_the_same_lines(folder: Path) -> None:
    run = RunFolder(folder)
    page = Page(report_files(run)[REPORT]).words
    assert page.index("In short") < page.index("first 48 hours") < page.index("Table 1.")
    md = render(run, "md")
    assert md.startswith("## In short\n")
    for point in answer(run):
        assert point.text in page
        assert f"- {point.topic}: {point.text}" in md
        assert (f"{point.topic}: {point.text}" in headline(run)) == (point.topic != "Unread answers")
    assert render(run, "latex").startswith("% In short\nBest: lightgbm has the highest AUROC")
    assert r"logistic\_regression comes next" in render(run, "latex")


def test_a_synthetic_or_limited_run_says_so_before_its_answer(simulated_run: Any, tmp_path: Path) -> None:
    run = RunFolder(simulated_run.write(tmp_path / "run", limit=150))
    assert render(run, "md").startswith("## In short\n\nSYNTHETIC DATA. LIMITED TO 150 PATIENTS.")
    assert "In short SYNTHETIC DATA. LIMITED TO 150 PATIENTS." in Page(report_files(run)[REPORT]).words


def test_one_method_has_a_result_and_no_rank(folder: Path) -> None:
    change(folder, lambda rows: [row for row in rows if row["method"] == "lightgbm"])
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["methods"] = [method for method in manifest["methods"] if method["label"] == "lightgbm"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    said = lines(folder)
    assert said["Result"] == "AUROC of lightgbm on unchanged records is 0.800 (0.760\u20130.840)."
    assert {"Best", "Difference", "Other metrics"}.isdisjoint(said)


def test_the_largest_loss_between_domains_has_its_interval(folder: Path) -> None:
    domains = ["benchmark", "task", "domain_train", "domain_eval", "method", "metric", "in_domain"]
    numbers = ["in_domain_value", "value", "gap", "ci_low", "ci_high", "p_corrected"]
    rows = [
        ["b", "t", "mimic4", "eicu", "lightgbm", "auroc", "eicu", 0.8, 0.7, 0.1, 0.02, 0.18, 0.04],
        ["b", "t", "eicu", "mimic4", "lightgbm", "auroc", "mimic4", 0.8, 0.6, 0.2, -0.1, 0.5, 0.3],
        ["b", "t", "eicu", "mimic4", "lightgbm", "brier", "mimic4", 0.1, 0.3, -0.2, -0.3, -0.1, 0.01],
    ]
    gaps = [dict(zip(domains + numbers, map(str, row), strict=True)) for row in rows]
    run = RunFolder(folder)
    run.__dict__["gaps"] = tuple(gaps)
    text = domain_sentence(run, "auroc")
    assert text.startswith("Of 2 gaps in AUROC between domains, 1 is a loss that is shown at 5 % after correction")
    assert "lightgbm from eicu to mimic4: 0.600 instead of 0.800 (mimic4), 0.200 (\u22120.100 to 0.500" in text
    # A rise of the Brier score is a loss, and its interval is turned round.
    assert "0.300 instead of 0.100 (mimic4), 0.200 (0.100 to 0.300; p corrected 0.010)" in domain_sentence(run, "brier")
