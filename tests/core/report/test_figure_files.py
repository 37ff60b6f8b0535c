"""The files of figures: pictures that stand alone, numbers that are those of the tables, names that are no paths."""

from __future__ import annotations

import csv
import itertools
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eagbench.report.figure_files import figure_files, with_suffix
from eagbench.report.figures.estimates import Look
from eagbench.report.figures.standalone import standalone
from eagbench.report.figures.svg import drawing, line, path
from eagbench.report.figures.visible import TOLERANCE, visible
from eagbench.report.html import report_files, write_report
from eagbench.report.page.blocks import FigureBlock, FigureFile, Folded, Section
from eagbench.runs.reader import RunFolder

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def folder(simulated_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = simulated_run.write(tmp_path_factory.mktemp("figures") / "run")
    write_report(RunFolder(made))
    return made


def test_every_figure_of_the_page_has_both_files(folder: Path) -> None:
    names = {path.name for path in (folder / "figures").iterdir()}
    stems = {Path(name).stem for name in names}
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("svg", "csv")}
    assert {"roc", "precision_recall", "decision", "calibration", "performance", "citations"} <= stems
    page = (folder / "report.html").read_text()
    assert len(stems) == page.count('<figure class="picture"')
    assert report_files(RunFolder(folder)).keys() == {"report.html", *(f"figures/{name}" for name in names)}


def test_another_process_makes_the_same_bytes(folder: Path) -> None:
    """Sets of names come in another order in each process."""
    script = "import sys; from eagbench.report.html import report_files; from eagbench.runs.reader import RunFolder; "
    script += "from pathlib import Path; sys.stdout.write(repr(report_files(RunFolder(Path(sys.argv[1])))))"
    made = {
        subprocess.run(
            [sys.executable, "-c", script, str(folder)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(made) == 1


def test_pictures_stand_alone(folder: Path) -> None:
    for picture in (folder / "figures").glob("*.svg"):
        text = picture.read_text()
        root = ElementTree.fromstring(text)
        assert root.tag == f"{SVG}svg"
        assert "var(" not in text
        assert not re.search(r"(href|src|url)\s*[=(]", text)
        style = root.find(f"{SVG}style").text
        used = {css for element in root.iter() for css in element.get("class", "").split()}
        assert used
        ruled = set(re.findall(r"svg (?:text)?\.([\w-]+)", style))
        assert used - ruled <= {"title"}, picture.name
        assert root.find(f"{SVG}desc").text.startswith("SYNTHETIC DATA.")
        shown = " ".join(element.text or "" for element in root.iter(f"{SVG}text"))
        assert "SYNTHETIC DATA." in shown


def test_the_stamp_and_the_legend_are_above_the_figure_and_wrap() -> None:
    figure = drawing(1040, 100, "t", [line(0, 0, 10, 10, "grid")])
    legend = [(Look("#123456", "circle"), f"a method with a long name, number {i}") for i in range(9)]
    root = ElementTree.fromstring(standalone(figure, legend, "STAMPED. " * 30, "What <it> shows & how."))
    said = [element.text for element in root.iter(f"{SVG}text")]
    assert sum("STAMPED." in text for text in said) == 3
    places = [(float(e.get("x")), float(e.get("y"))) for e in root.iter(f"{SVG}text") if "a method" in e.text]
    assert len({y for _, y in places}) > 1
    assert all(x < 1040 for x, _ in places)
    assert float(root.get("height")) > 100 + max(y for _, y in places)
    assert root.find(f"{SVG}desc").text.endswith("What <it> shows & how.")
    plain = ElementTree.fromstring(standalone(figure, (), "", "c"))
    assert float(plain.get("height")) < float(root.get("height"))


def test_numbers_of_a_figure_are_those_of_results_csv(folder: Path) -> None:
    with (folder / "results.csv").open(newline="") as stream:
        results = list(csv.DictReader(stream))
    known = {
        (r["method"], r["condition"], r["severity"], r["metric"]): (r["value"], r["ci_low"], r["ci_high"])
        for r in results
        if r["seed"] == "mean"
    }
    for name in ("performance", "robustness_feature_order"):
        with (folder / "figures" / f"{name}.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert rows
        for row in rows:
            of = known[row["method"], row["condition"], row["severity"], row["metric"]]
            assert (row["value"], row["ci_low"], row["ci_high"]) == of


def test_names_are_no_paths_and_differ() -> None:
    figure = FigureBlock(
        drawing(1, 1, "t", []), "c", file=FigureFile("../up/a b", ("x",), [{"x": 1.5}, {"x": float("nan")}])
    )
    section = Section("s", "S", (Folded("more", (figure,)),))
    made = figure_files([section, with_suffix(section, "a_to_b")], "")
    assert set(made) == {
        "figures/_up_a_b.svg", "figures/_up_a_b.csv", "figures/_up_a_b_a_to_b.svg", "figures/_up_a_b_a_to_b.csv",
    }  # fmt: skip
    assert made["figures/_up_a_b.csv"] == 'x\n1.5\n""\n'
    with pytest.raises(ValueError, match="two figures"):
        figure_files([section, replace(section, title="other")], "")


def test_a_thinned_line_stays_where_it_was() -> None:
    steps = [(i * 0.05, 100 - (i // 40) * 2.0) for i in range(4000)]
    kept = visible(steps)
    assert kept[0] == steps[0]
    assert kept[-1] == steps[-1]
    assert len(kept) < 300
    assert len(path(kept, "curve", "#000")) < 5000
    for x, y in steps:  # no point is farther from the drawn line than the tolerance
        near = min(_distance((x, y), a, b) for a, b in itertools.pairwise(kept) if a[0] - 1 <= x <= b[0] + 1)
        assert near <= TOLERANCE + 1e-9
    assert visible([(0, 0)]) == [(0, 0)]
    assert visible([(1, 1), (1, 1), (1, 1)]) == [(1, 1), (1, 1)]


def _distance(p: tuple[float, float], a: tuple[float, float], b: tuple[float, float]) -> float:
    (px, py), (ax, ay), (bx, by) = p, a, b
    squared = (bx - ax) ** 2 + (by - ay) ** 2
    t = max(0.0, min(1.0, ((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / squared)) if squared else 0.0
    return float(((ax + t * (bx - ax) - px) ** 2 + (ay + t * (by - ay) - py) ** 2) ** 0.5)
