"""The page of cases: a small index, scripts that a page from a file can load, and nothing that runs by itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from eagbench.report.cases.page import MOST_BYTES, write_case_page
from eagbench.report.cases.selection import Asked, chosen, selected
from eagbench.runs.cases.answers import read_settings
from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import SUBGROUPS

HOSTILE = "</script><img src=x onerror=alert(1)>&'\""


@pytest.fixture
def folder(simulated_run: Any, tmp_path: Path) -> Path:
    """A simulated run folder with all columns of an answer; the store holds none of its stages."""
    folder: Path = simulated_run.write(tmp_path / "run")
    for path in (folder / "predictions").glob("*.parquet"):
        complete(path)
    return folder


def complete(path: Path, **columns: Any) -> None:
    """Add to a table of answers the columns that a run writes and the simulated one does not."""
    table = pq.read_table(path)
    absent = {"prior_corrected": pa.float64(), "recalibrated": pa.float64()}
    absent |= {name: pa.map_(pa.string(), pa.float64()) for name in ("attention", "teacher_salience")}
    for name, kind in absent.items():
        table = table.append_column(name, pa.nulls(table.num_rows, kind))
    table = table.set_column(table.schema.get_field_index("seed"), "seed", pc.cast(table["seed"], pa.string()))
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, column(table))
    pq.write_table(table, path)


def handed_over(path: Path) -> list[Any]:
    """Read the values that a script hands to the page."""
    text = path.read_text(encoding="ascii")
    values: list[Any] = json.loads("[" + text[text.index("(") + 1 : text.rindex(")")] + "]")
    return values


def test_the_index_lists_every_case_with_every_methods_answer(folder: Path, tmp_path: Path) -> None:
    run = RunFolder(folder)
    page = write_case_page(run, tmp_path / "no store")
    [index] = handed_over(folder / "cases" / "index.js")
    [setting] = index["settings"]
    [cases] = read_settings(run)
    assert setting["ids"] == list(cases.case_id)
    assert setting["labels"] == "".join(map(str, cases.label))
    assert set(setting["answers"]) == {*run.methods, *run.references}
    assert index["conditions"][0] == "clean"
    assert len(list((folder / "cases").glob("condition-*.js"))) == len(index["conditions"]) - 1
    assert page.name == "cases.html"


def test_the_page_says_what_the_store_lacks(folder: Path, tmp_path: Path) -> None:
    write_case_page(RunFolder(folder), tmp_path / "no store")
    [index] = handed_over(folder / "cases" / "index.js")
    assert any(text.startswith("records, clean: the store lacks") for text in index["missing"])
    _, details, _ = handed_over(folder / "cases" / "held_out-0-0.js")
    assert details[0]["record"] is None
    assert details[0]["answers"]["lightgbm"][0]["probability"] >= 0


def test_the_index_of_4000_cases_stays_under_2_mb(folder: Path, tmp_path: Path) -> None:
    def ids(copy: int) -> Any:
        return lambda t: pc.binary_join_element_wise(t["case_id"], f"/intensive-care-stay/{copy:06d}", "")

    for path in (folder / "predictions").glob("*.parquet"):
        table = pq.read_table(path)
        table = table.filter(pc.equal(table["condition"], "clean"))
        at = table.schema.get_field_index("case_id")
        pq.write_table(pa.concat_tables([table.set_column(at, "case_id", ids(i)(table)) for i in range(16)]), path)
    [cases] = read_settings(RunFolder(folder))
    assert len(cases) == 4000
    write_case_page(RunFolder(folder), tmp_path / "no store")
    assert len(handed_over(folder / "cases" / "index.js")[0]["settings"][0]["ids"]) == 4000
    assert (folder / "cases" / "index.js").stat().st_size < MOST_BYTES


def test_ids_too_long_for_2_mb_leave_the_worst_predicted_cases(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "predictions").glob("*.parquet"):
        table = pq.read_table(path)
        at = table.schema.get_field_index("case_id")
        pq.write_table(
            table.set_column(at, "case_id", pc.binary_join_element_wise(table["case_id"], "x" * 9000, "")), path
        )
    run = RunFolder(folder)
    [cases] = read_settings(run)
    write_case_page(run, tmp_path / "no store")
    [index] = handed_over(folder / "cases" / "index.js")
    kept = index["settings"][0]["ids"]
    assert 100 < len(kept) < len(cases) == index["settings"][0]["n"]
    assert (folder / "cases" / "index.js").stat().st_size < MOST_BYTES
    worst = selected(cases, chosen(run, cases, Asked(method=index["main"])))
    assert set(kept) >= {cases.case_id[i] for i in worst[:50]}


def test_nothing_in_the_page_becomes_markup(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "predictions").glob("*.parquet"):
        table = pq.read_table(path)
        at = table.schema.get_field_index("case_id")
        pq.write_table(
            table.set_column(at, "case_id", pc.binary_join_element_wise(table["case_id"], HOSTILE, "")), path
        )
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"name": HOSTILE}))
    page = write_case_page(RunFolder(folder), tmp_path / "no store").read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert re.findall(r"<script[^>]*>", page) == [
        "<script>",
        '<script src="cases/page.js">',
        '<script src="cases/index.js">',
    ]
    for path in (folder / "cases").glob("*.js"):
        if path.name != "page.js":
            assert "<" not in path.read_text(encoding="ascii")
    code = (folder / "cases" / "page.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|XMLHttp", code)


def dom(page: Path, fragment: str, profile: Path) -> str:
    """Return the document that Chromium makes of a page that it opens from a file."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-quic"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--dump-dom", f"{page.as_uri()}{fragment}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


@pytest.mark.slow
def test_a_browser_opens_list_and_case_from_files(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "predictions").glob("*.parquet"):
        table = pq.read_table(path)
        at = table.schema.get_field_index("case_id")
        pq.write_table(
            table.set_column(at, "case_id", pc.binary_join_element_wise(table["case_id"], "<i>x</i>", "")), path
        )
    page = write_case_page(RunFolder(folder), tmp_path / "no store")
    listed = dom(page, "", tmp_path / "profile")
    assert "250 of 250 cases" in listed
    assert "&lt;i&gt;x&lt;/i&gt;" in listed
    assert "<i>x" not in listed
    one = dom(page, "#e/0/c00003%3Ci%3Ex%3C%2Fi%3E", tmp_path / "profile")
    assert re.search(r"<h2[^>]*>Case c00003&lt;i&gt;x&lt;/i&gt;</h2>", one)
    assert "Probabilities of all methods" in one


def test_filters_choose_by_answer_and_subgroup(folder: Path) -> None:
    run = RunFolder(folder)
    [cases] = read_settings(run)
    pq.write_table(
        pa.table(
            {
                "domain_eval": [cases.setting[2]] * 3,
                "case_id": list(cases.case_id[:3]),
                "subgroup": ["sex=female", "sex=male", "sex=female"],
            }
        ),
        folder / SUBGROUPS,
    )
    [cases] = read_settings(run)
    wrong = selected(cases, chosen(run, cases, Asked(method="lightgbm", only="wrong")))
    answers = cases.answers["lightgbm", ("clean", None)]
    assert len(wrong)
    assert all((answers.probability[i] >= 0.5) != (cases.label[i] == 1) for i in wrong)
    errors = answers.error(cases.label)[wrong]
    assert (errors[:-1] >= errors[1:]).all()
    women = selected(cases, chosen(run, cases, Asked(method="lightgbm", subgroup="sex=female")))
    assert sorted(cases.case_id[i] for i in women) == [cases.case_id[0], cases.case_id[2]]
