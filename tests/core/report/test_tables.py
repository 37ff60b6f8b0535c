from __future__ import annotations

import csv
import io
import json
import math
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.report import wording
from eagbench.report.html import write_report
from eagbench.report.tables import Entry, Line, Table, columns_of_words, sort_value
from eagbench.report.text import render
from eagbench.runs.reader import RunFolder
from tests.core.report.test_html import Page


@pytest.fixture(scope="module")
def folder(simulated_run, tmp_path_factory):
    return simulated_run.write(tmp_path_factory.mktemp("run") / "run")


def test_csv_holds_the_headline_numbers_unrounded(folder):
    rendered = list(csv.DictReader(io.StringIO(render(RunFolder(folder), "csv"))))
    with (folder / "results.csv").open(newline="") as stream:
        means = [row for row in csv.DictReader(stream) if row["seed"] == "mean"]
    assert len(rendered) == len(means)
    for ours, original in zip(rendered, means, strict=True):
        for column in ("method", "condition", "metric", "status"):
            assert ours[column] == original[column]
        for column in ("value", "ci_low", "ci_high", "severity"):
            assert (float(ours[column]) if ours[column] else math.nan) == pytest.approx(
                float(original[column]) if original[column] else math.nan, abs=0, nan_ok=True
            )
        assert ours["stamp"].startswith("SYNTHETIC DATA.")


def test_markdown_tables_are_rectangular_and_stamped(folder):
    blocks = re.findall(r"(?:^\|.*\n)+", render(RunFolder(folder), "md"), flags=re.MULTILINE)
    page = write_report(RunFolder(folder)).read_text(encoding="utf-8")
    assert len(blocks) == page.count("<table")
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert render(RunFolder(folder), "md").count("SYNTHETIC DATA.") == len(blocks) + 1  # and before the answer
    assert re.search(r"\| lightgbm \| 250 / \d+ \| 0\.\d{3} \(0\.\d{3}\u20130\.\d{3}\) \|", blocks[0])


def test_page_markdown_and_latex_hold_the_same_sections_in_the_same_order(folder):
    page = Page(write_report(RunFolder(folder)).read_text(encoding="utf-8"))
    for format, mark in (("md", r"^## (.*)$"), ("latex", r"^% (.*)$")):
        titles = [t for t in re.findall(mark, render(RunFolder(folder), format), re.MULTILINE) if "needs" not in t]
        assert len(titles) > 8
        places = [page.words.rindex(title) for title in titles]
        assert places == sorted(places)


def test_latex_escapes_and_sets_references_apart(folder):
    latex = render(RunFolder(folder), "latex")
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}")
    assert latex.count(r"\begin{tabular}") == len(re.findall(r"^\| ---", render(RunFolder(folder), "md"), re.MULTILINE))
    first = latex[: latex.index(r"\end{table}")]
    assert r"logistic\_regression" in first
    assert re.search(r"\\midrule\noracle & ", first)
    assert not re.search(r"(?<!\\)[_%&#](?![^\n]*\\\\)", first.split(r"\caption")[1].split("\n")[0])
    for line in re.findall(r"^.* \\\\$", first, flags=re.MULTILINE):
        assert len(re.findall(r"(?<!\\)&", line)) == 7  # n / events and six metrics
    assert all(ord(character) < 128 for character in latex)


def test_the_numbers_of_figures_are_those_of_the_predictions(folder):
    blocks = re.findall(r"(?:^\|.*\n)+", render(RunFolder(folder), "md"), flags=re.MULTILINE)
    [reliability] = [block for block in blocks if "| Bin |" in block]
    others = ("| Unit |", "| Drawn |")
    [citations] = [b for b in blocks if b.startswith("| Feature |") and not any(other in b for other in others)]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in reliability.splitlines()[2:]]
    answers = [
        row
        for row in pq.read_table(folder / "predictions" / "lightgbm.parquet").to_pylist()
        if row["condition"] == "clean" and row["parsed"]
    ]
    mine = [row for row in rows if row[0] == "lightgbm"]
    assert sum(int(row[2].replace(",", "")) for row in mine) == len(answers)
    low, high = map(float, mine[0][1].split(" to "))
    inside = [row for row in answers if low <= row["probability"] < high]
    assert int(mine[0][2].replace(",", "")) == len(inside)
    assert float(mine[0][3]) == pytest.approx(np.mean([row["probability"] for row in inside]), abs=6e-4)
    assert float(mine[0][4].split(" (")[0]) == pytest.approx(np.mean([row["label"] for row in inside]), abs=6e-4)
    feature, *shares = [cell.strip() for cell in citations.splitlines()[2].split("|")[1:-1]]
    method = citations.splitlines()[0].split("|")[2].strip()
    cited = [
        row["cited_features"]
        for row in pq.read_table(folder / "predictions" / f"{method}.parquet").to_pylist()
        if row["condition"] == "clean"
    ]
    share = np.mean([feature in (listed or ()) for listed in cited])
    assert float(shares[0].split(" ")[0]) == pytest.approx(100 * share, abs=0.06)


def test_special_characters_in_labels(simulated_run, tmp_path):
    folder = simulated_run.write(tmp_path / "run")
    label = r"a_b|<i>$\x{y}%"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["methods"][0]["label"] = label
    (folder / "manifest.json").write_text(json.dumps(manifest))
    results = (folder / "results.csv").read_text().replace(",logistic_regression,", f",{label},")
    (folder / "results.csv").write_text(results)
    markdown = render(RunFolder(folder), "md")
    assert r"| a_b\|&lt;i&gt;$\x{y}% |" in markdown
    assert r"a\_b|\textless{}i\textgreater{}\$\textbackslash{}x\{y\}\%" in render(RunFolder(folder), "latex")
    assert label in render(RunFolder(folder), "csv")


@given(st.floats(-1e6, 1e6))
def test_a_written_number_is_read_as_it_was_written(value):
    assert wording.written_number(wording.number(value)) == pytest.approx(round(value, 3), abs=1e-9)
    assert wording.written_number(wording.percent(value)) == pytest.approx(100 * value, abs=0.0501)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,204", 1204), ("80 / 12", 80), ("34 / 0 / 0", 34), ("+0.016", 0.016), ("\u22120.016", -0.016),
     ("<0.001", 0.001), ("12.5 s", 12.5), ("3 min 02 s", 182), ("2 h 05 min", 7500), ("n/a", None), ("\u2013", None),
     ("0.1 and more", None), ("missing_values 0.3", None), ("", None)],
)  # fmt: skip
def test_known_texts_are_numbers_or_words(text, value):
    assert wording.written_number(text) == value


def test_a_cell_sorts_by_its_unrounded_number_and_a_quiet_one_by_none():
    assert sort_value(Entry("0.834", "0.793\u20130.867", value=0.83449)) == 0.83449
    assert sort_value(Entry("<0.001", value=2e-7)) == 2e-7
    assert sort_value(Entry("81.0 %")) == 81.0
    assert sort_value(Entry("undefined", value=float("nan"))) is None
    assert sort_value(Entry("0.5", quiet=True)) is None


def test_columns_of_words_read_from_the_left():
    lines = (Line("a", (Entry("clean"), Entry("0.1"))), Line("b", (Entry("gone 0.3"), Entry("\u2013", quiet=True))))
    assert columns_of_words(Table("", ("Against", "Condition", "Difference"), lines)) == (True, True, False)
