"""The report in Chromium, from a file: its script sorts and filters tables and keeps the choice of colours."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from eagbench.report.html import write_report
from eagbench.runs.reader import RunFolder
from tests.core.report.cases.test_page_of_cases import dom

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(simulated_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(RunFolder(simulated_run.write(tmp_path_factory.mktemp("run") / "run")))


def allowing(page: Path, scripts: str, tmp_path: Path) -> Path:
    """Write a copy of the page whose Content-Security-Policy allows other scripts."""
    changed = tmp_path / "changed.html"
    text = re.sub(r"script-src '[^']*'", f"script-src {scripts}", page.read_text(encoding="utf-8"))
    changed.write_text(text, encoding="utf-8")
    return changed


def after(page: Path, actions: str, tmp_path: Path) -> Any:
    """Return what JavaScript says after its actions on a copy of the page, which allows other scripts than its own."""
    said = f"document.body.dataset.said = JSON.stringify((() => {{ {actions} }})());"
    ending = f"<script>addEventListener('load', () => {{ {said} }})</script>"
    changed = allowing(page, "'unsafe-inline'", tmp_path)
    changed.write_text(changed.read_text(encoding="utf-8").replace("</body>", f"{ending}</body>"), encoding="utf-8")
    [said] = re.findall(r'data-said="([^"]*)"', dom(changed, "", tmp_path / "profile"))
    return json.loads(html.unescape(said))


SORTED = """
const table = document.querySelector("#table-1 table");
const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].firstChild.textContent);
const auroc = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.startsWith("AUROC"));
const heading = table.tHead.rows[0].cells[auroc], button = heading.querySelector("button");
const values = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[auroc].dataset.value));
const seen = [[null, names(), values()]];
for (let i = 0; i < 3; i++) { button.click(); seen.push([heading.getAttribute("aria-sort"), names(), values()]); }
return { seen, focusable: button.tabIndex,
         reference: table.querySelector("tr.reference").rowIndex, rows: table.tBodies[0].rows.length };
"""


def test_a_heading_sorts_up_down_and_back_with_references_below(page: Path, tmp_path: Path) -> None:
    said = after(page, SORTED, tmp_path)
    (_, names, _), (up, _, rising), (down, _, falling), (back, again, _) = said["seen"]
    assert (up, down, back) == ("ascending", "descending", "none")
    assert again == names
    assert rising[:-1] == sorted(rising[:-1])  # the last is the reference, although its AUROC is the highest
    assert falling[:-1] == sorted(rising[:-1], reverse=True)
    assert rising[-1] == falling[-1] == max(rising)
    assert said["reference"] == said["rows"]
    assert said["focusable"] == 0


FILTERED = """
const figure = [...document.querySelectorAll("figure.table")].find((figure) => figure.querySelector("input"));
const field = figure.querySelector("input"), rows = [...figure.querySelector("tbody").rows];
const type = (text) => {
  field.value = text;
  field.dispatchEvent(new Event("input"));
  const shown = rows.filter((row) => !row.hidden).map((row) => row.textContent);
  return [shown, figure.querySelector("[role=status]").textContent];
};
const word = rows[3].cells[0].textContent.split(/\\s+/)[0];
const search = type(word.toUpperCase());
return { word, all: rows.map((row) => row.textContent), search, none: type("no such row"),
         cleared: type(""), label: field.labels[0].textContent };
"""


def test_a_long_table_has_a_labelled_filter_that_counts_its_rows(page: Path, tmp_path: Path) -> None:
    said = after(page, FILTERED, tmp_path)
    expected = [text for text in said["all"] if said["word"].lower() in text.lower()]
    assert said["search"] == [expected, f"{len(expected)} of {len(said['all'])} rows"]
    assert 0 < len(expected) < len(said["all"])
    assert said["none"] == [[], f"0 of {len(said['all'])} rows"]
    assert said["cleared"] == [said["all"], ""]
    assert said["label"].strip() == "Filter rows"


TOGGLED = """
const seen = () => [document.documentElement.dataset.theme ?? null, getComputedStyle(document.body).backgroundColor,
                    getComputedStyle(document.querySelector("figure.picture svg .marker")).fill];
const before = seen();
document.querySelector("button.theme").click();
return { before, after: seen() };
"""


def test_the_button_darkens_page_and_figures_and_the_choice_is_kept(page: Path, tmp_path: Path) -> None:
    said = after(page, TOGGLED, tmp_path)
    assert said["before"] == [None, "rgb(255, 255, 255)", "rgb(0, 114, 178)"]
    theme, background, marker = said["after"]
    assert theme == "dark"
    assert background != "rgb(255, 255, 255)"
    assert marker != "rgb(0, 114, 178)"
    later = dom(page, "", tmp_path / "profile")  # another page of the same browser
    assert re.search(r'<html[^>]*data-theme="dark"', later)


def test_the_page_as_written_runs_its_script_and_reads_whole_without(page: Path, tmp_path: Path) -> None:
    with_script = dom(page, "", tmp_path / "profile")
    assert with_script.count('aria-sort="none"') > 10  # its Content-Security-Policy lets its own script run
    assert 'class="theme"' in with_script
    without = dom(allowing(page, "'none'", tmp_path), "", tmp_path / "profile")
    assert 'aria-sort="none"' not in without
    assert 'class="theme"' not in without
    written = page.read_text(encoding="utf-8")
    assert without.count("<td") == with_script.count("<td") == written.count("<td")
