from __future__ import annotations

import csv
import io
import json
import math
import re

import pytest

from eagbench.report.tables import render


@pytest.fixture(scope="module")
def folder(simulated_run, tmp_path_factory):
    return simulated_run.write(tmp_path_factory.mktemp("run") / "run")


def test_csv_holds_the_headline_numbers_unrounded(folder):
    rendered = list(csv.DictReader(io.StringIO(render(folder, "csv"))))
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
        assert ours["stamp"] == "SYNTHETIC DATA."


def test_markdown_tables_are_rectangular_and_stamped(folder):
    blocks = re.findall(r"(?:^\|.*\n)+", render(folder, "md"), flags=re.MULTILINE)
    assert len(blocks) == 1 + 3 * 2 + 1  # clean, three perturbations with two metrics, unparsed answers
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert render(folder, "md").count("SYNTHETIC DATA.") == len(blocks)
    assert re.search(r"\| lightgbm \| 250 / \d+ \| 0\.\d{3} \(0\.\d{3}\u20130\.\d{3}\) \|", blocks[0])


def test_latex_escapes_and_sets_references_apart(folder):
    latex = render(folder, "latex")
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 8
    first = latex[: latex.index(r"\end{table}")]
    assert r"logistic\_regression" in first
    assert re.search(r"\\midrule\noracle & ", first)
    assert not re.search(r"(?<!\\)[_%&#](?![^\n]*\\\\)", first.split(r"\caption")[1].split("\n")[0])
    for line in re.findall(r"^.* \\\\$", first, flags=re.MULTILINE):
        assert len(re.findall(r"(?<!\\)&", line)) == 7  # n / events and six metrics
    assert all(ord(character) < 128 for character in latex)


def test_special_characters_in_labels(simulated_run, tmp_path):
    folder = simulated_run.write(tmp_path / "run")
    label = r"a_b|<i>$\x{y}%"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["methods"][0]["label"] = label
    (folder / "manifest.json").write_text(json.dumps(manifest))
    results = (folder / "results.csv").read_text().replace(",logistic_regression,", f",{label},")
    (folder / "results.csv").write_text(results)
    markdown = render(folder, "md")
    assert r"| a_b\|&lt;i&gt;$\x{y}% |" in markdown
    assert r"a\_b|\textless{}i\textgreater{}\$\textbackslash{}x\{y\}\%" in render(folder, "latex")
    assert label in render(folder, "csv")
