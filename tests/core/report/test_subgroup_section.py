"""Subgroups: their forest plot, and its numbers as tables."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from eagbench.report.figures.estimates import Estimate, looks
from eagbench.report.figures.subgroups import SubgroupPanel, SubgroupRow, subgroup_forest
from eagbench.report.html import write_report
from eagbench.report.text import render
from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import COMPARISON_COLUMNS

NAN = float("nan")
SPEC = {"by": ["sex", "icu_type"], "minimum_cases": 50, "minimum_positive": 10, "age_bands": [65]}
# subgroup: cases, events, and how far its AUROC lies from that on all cases; None if there are too few
GROUPS = {"sex=female": (120, 30, 0.04), "sex=male": (126, 28, -0.03), "icu_type=CSRU": (4, 0, None)}


@pytest.fixture
def run_folder(simulated_run, tmp_path: Path) -> Path:
    folder = simulated_run.write(tmp_path / "run", subgroups=SPEC)
    path = folder / "results.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    clean = [row for row in rows if row["condition"] == "clean" and row["method"] != "oracle"]
    for row in clean:
        for name, (cases, events, shift) in GROUPS.items():
            numbers = dict.fromkeys(("value", "ci_low", "ci_high"), "") | {"status": "too_few"}
            if shift is not None and row["value"]:
                numbers = {column: repr(float(row[column]) + shift) for column in ("value", "ci_low", "ci_high")}
            rows.append({**row, "subgroup": name, "n_cases": cases, "n_positive": events, **numbers})
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def pictures(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg [^>]*aria-label=.*?</svg>", page)]


def forest_of(folder: Path) -> ElementTree.Element:
    page = write_report(RunFolder(folder)).read_text(encoding="utf-8")
    (found,) = [e for e in pictures(page) if "within subgroups" in (e.get("aria-label") or "")]
    return found


def test_every_method_has_every_subgroup(run_folder: Path) -> None:
    forest = forest_of(run_folder)
    said = [element.text for element in forest if element.text]
    methods = 6  # the oracle has no subgroups, but a value on all cases
    rows_of_panels = 2
    assert {"lightgbm", "eag_rl", "oracle"} <= set(said)
    assert said.count("too few") == methods
    for name in ("all cases", "female", "male", "CSRU", "sex", "icu type", "120 / 30", "4 / 0"):
        assert said.count(name) == rows_of_panels
    assert len([e for e in forest if e.get("class") == "whisker"]) == 3 * methods + 1
    assert forest.get("aria-label") == "AUROC ↑ within subgroups, one panel per method"


def test_the_forest_shows_the_metric_that_is_compared(run_folder: Path, simulated_run, tmp_path: Path) -> None:
    folder = simulated_run.write(
        tmp_path / "compared", subgroups=SPEC, comparisons={"method": "eag_rl", "metric": "auprc"}
    )
    (folder / "results.csv").write_bytes((run_folder / "results.csv").read_bytes())
    (folder / "comparisons.csv").write_text(",".join(COMPARISON_COLUMNS) + "\n")
    assert forest_of(folder).get("aria-label") == "AUPRC ↑ within subgroups, one panel per method"
    captions = re.findall(
        r"^(\S+) .* within subgroups on unchanged records", render(RunFolder(folder), "md"), re.MULTILINE
    )
    assert len(captions) == 3  # that metric, AUROC, Brier score


def test_its_numbers_are_in_every_format(run_folder: Path) -> None:
    markdown = render(RunFolder(run_folder), "md")
    assert re.search(r"\| sex: female \| 120 / 30 \| 0\.\d{3} \(0\.\d{3}\u20130\.\d{3}\) \|", markdown)
    assert re.search(r"\| icu type: CSRU \| 4 / 0 \| too few \|", markdown)
    assert "sex: female & 120 / 30" in render(RunFolder(run_folder), "latex")
    found = [
        float(row["value"])
        for row in csv.DictReader(io.StringIO(render(RunFolder(run_folder), "csv")))
        if (row["method"], row["metric"]) == ("lightgbm", "auroc")
        and row["subgroup"] in ("all", "sex=female") and row["condition"] == "clean"
    ]  # fmt: skip
    assert found[1] - found[0] == pytest.approx(0.04)


def test_a_run_without_subgroups_has_no_such_section(simulated_run, tmp_path: Path) -> None:
    page = write_report(RunFolder(simulated_run.write(tmp_path / "run"))).read_text(encoding="utf-8")
    assert 'id="subgroups"' not in page
    assert "within subgroups" not in page


ROWS = (
    SubgroupRow("", "all cases", "9 / 3"),
    SubgroupRow("sex", "female", "5 / 2"),
    SubgroupRow("sex", "male", "4 / 1"),
)


def test_all_panels_have_one_scale_and_a_line_at_all_cases() -> None:
    panels = [
        SubgroupPanel("a", 0.7, [Estimate(0.7, 0.6, 0.8), Estimate(0.8, 0.6, 0.9), "too few"]),
        SubgroupPanel("b", 0.6, [Estimate(0.6, 0.5, 0.7), Estimate(0.6, 0.4, 0.8), Estimate(0.5, NAN, NAN)]),
        SubgroupPanel("c", NAN, ["failed", "failed", Estimate(0.5, 0.4, 0.6)]),
    ]
    root = ElementTree.fromstring(subgroup_forest(ROWS, panels, looks(["a", "b"]), "AUROC"))
    whiskers = [(float(e.get("x1")), float(e.get("x2"))) for e in root if e.get("class") == "whisker"]
    lengths = [high - low for low, high in whiskers]
    assert lengths == pytest.approx([lengths[0] * r for r in (1, 1.5, 1, 2, 1)], abs=0.1)
    verticals = [e for e in root if e.get("class") == "trace"]
    assert len(verticals) == 2  # c has no value on all cases
    for vertical, whisker in zip(verticals, (whiskers[0], whiskers[2]), strict=True):
        assert vertical.get("x1") == vertical.get("x2")
        assert float(vertical.get("x1")) == pytest.approx(sum(whisker) / 2, abs=0.02)
    assert len({e.get("stroke") for e in verticals}) == 2
    said = [e.text for e in root]
    assert said.count("failed") == 2
    assert said.count("sex") == 1


@pytest.mark.parametrize(("methods", "lines"), [(1, 1), (4, 1), (5, 2), (9, 3)])
def test_many_methods_stand_in_rows_of_at_most_four(methods: int, lines: int) -> None:
    names = [f"method_{i}" for i in range(methods)]
    panels = [SubgroupPanel(name, 0.7, [Estimate(0.7, 0.6, 0.8)] * 3) for name in names]
    root = ElementTree.fromstring(subgroup_forest(ROWS, panels, looks(names), "AUROC"))
    titles = [e for e in root if e.get("class") == "panel-title"]
    assert [e.text for e in titles] == names
    assert len({e.get("y") for e in titles}) == lines == [e.text for e in root].count("female")
    width, height = float(root.get("width")), float(root.get("height"))
    for element in root:
        assert 0 <= float(element.get("x") or element.get("x2") or 0) <= width
        assert 0 <= float(element.get("y") or element.get("y2") or 0) <= height
