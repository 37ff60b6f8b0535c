"""Tables of differences without p-values say why there are none, and a loss from 0 has no percentage."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from eagbench.report.page.blocks import Folded, TableBlock
from eagbench.report.sections.comparisons import UNTESTED, comparisons, is_untested
from eagbench.report.sections.robustness import loss_tables
from eagbench.report.tables import Table
from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import COMPARISON_COLUMNS, ROBUSTNESS_COLUMNS

NAN = float("nan")


@pytest.mark.parametrize(
    ("low", "high", "p_value", "untested"),
    [
        (-0.1, 0.2, NAN, True),  # it has an interval and no test: so it is with the metric
        (-0.1, 0.2, 0.3, False),
        (0.0, 0.0, NAN, False),  # nothing differs
        (-1e-17, 1e-17, NAN, False),
        (NAN, NAN, NAN, False),  # undefined
    ],
)
def test_a_metric_is_untested_where_a_real_difference_has_no_test(low, high, p_value, untested) -> None:
    assert is_untested(low, high, p_value) is untested


def write(path: Path, columns: tuple[str, ...], rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


PLACE = {"benchmark": "mimic_robustness", "task": "in_hospital_mortality", "domain_train": "mimic4"}
SIZES = {"n_cases": 250, "n_positive": 40, "n_seeds": 2, "undefined_resamples": 0}


def found(tables: list[Table], start: str) -> str:
    [caption] = [table.caption for table in tables if f"paired difference in {start}" in table.caption]
    return caption


def test_the_caption_says_why_there_is_no_p_value(simulated_run, tmp_path: Path) -> None:
    spec = {"method": "eag_rl", "metric": "auroc"}
    run = RunFolder(simulated_run.write(tmp_path / "run", comparisons=spec))
    group = run.groups[0]
    ranges = {"ece": (-0.01, 0.02, ""), "unparsed_rate": (0.0, 0.0, ""), "brier": (-0.01, 0.02, 0.4)}
    rows = [
        {**PLACE, **SIZES, "domain_eval": group.domain_eval, "family": "grid", "metric": metric}
        | {"condition": "clean", "calibration": "none", "method": "eag_rl", "baseline": "lightgbm"}
        | {"difference": 0.0, "ci_low": low, "ci_high": high, "p_value": p, "test": "x" if p else "", "p_corrected": p}
        for metric, (low, high, p) in ranges.items()
    ]
    write(run.path / "comparisons.csv", COMPARISON_COLUMNS, rows)
    section = comparisons(run, group)
    assert section is not None
    [folded] = [block for block in section.blocks if isinstance(block, Folded)]
    tables = [block.table for block in folded.blocks if isinstance(block, TableBlock)]
    assert found(tables, "ECE").endswith(UNTESTED)
    assert "nothing to test" in found(tables, "Unparsed")
    assert "Secondary: p corrected" in found(tables, "Brier")


def test_a_loss_from_a_clean_value_of_0_has_no_percentage(simulated_run, tmp_path: Path) -> None:
    run = RunFolder(simulated_run.write(tmp_path / "run"))
    group = run.groups[0]
    row = {**PLACE, **SIZES, "domain_eval": group.domain_eval, "summary": "degradation", "metric": "auroc"} | {
        "condition": "missing_values", "severity": 0.5, "calibration": "none", "method": "eag_rl", "baseline": "",
        "value": -0.3, "ci_low": -0.5, "ci_high": -0.1, "p_value": 0.02, "test": "x", "p_corrected": 0.02,
    }  # fmt: skip
    write(run.path / "robustness.csv", ROBUSTNESS_COLUMNS, [row])
    [table] = [table for table in loss_tables(run, group) if table.caption.startswith("What each condition costs")]
    assert [entry.text for entry in table.lines[0].entries][2] == "\u2013"
