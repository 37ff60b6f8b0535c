"""What leaves in a bundle: no count of a few, however it is calculated, and nothing of a case."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.errors import UserError
from eagbench.report.export.bundle import export
from eagbench.report.export.manifest import exported_manifest
from eagbench.report.export.small_cells import Counts, hidden, is_small
from eagbench.report.export.tables import Suppression, exported_tables
from tests.conftest import Finished

K = 11
counts = st.integers(0, 60).flatmap(lambda n: st.integers(0, n).map(lambda p: Counts(n, p)))


@given(cells=st.lists(counts, min_size=1, max_size=6), rest=counts)
def test_nothing_small_is_shown_or_left_over(cells: list[Counts], rest: Counts) -> None:
    named = dict(enumerate(cells))
    total = sum(cells, rest)
    gone = hidden(named, total, K)
    shown = [named[name] for name in named if name not in gone]
    assert not any(cell.shows_few(K) for cell in shown)
    left = total - sum(shown, Counts(0, 0))
    assert not left.shows_few(K) or not shown


@pytest.mark.parametrize(
    ("cells", "rest", "gone"),
    [
        ({"a": (50, 20), "b": (60, 30)}, (0, 0), set()),
        ({"a": (50, 20), "b": (60, 5)}, (0, 0), {"a", "b"}),  # else b's events are the total's less a's
        ({"a": (50, 20), "b": (60, 30), "c": (15, 3)}, (0, 0), {"a", "c"}),
        ({"a": (50, 20), "b": (60, 30)}, (4, 2), {"a"}),  # a few in none of them
        ({"a": (50, 20), "b": (20, 0)}, (0, 0), set()),  # nobody is not a few
    ],
)
def test_known_answers(cells: dict[str, tuple[int, int]], rest: tuple[int, int], gone: set[str]) -> None:
    named = {name: Counts(*pair) for name, pair in cells.items()}
    assert hidden(named, sum(named.values(), Counts(*rest)), K) == gone


HEADER = (
    "benchmark,task,domain_train,domain_eval,split,method,seed,condition,severity,calibration,subgroup,metric,"
    "value,ci_low,ci_high,n_cases,n_positive,n_unparsed,status"
)


def results(folder: Path, *rows: tuple[str, str, str, int, int, int]) -> list[dict[str, str]]:
    """Write rows of (domain, subgroup, metric, cases, events, unparsed), and return what is exported of them."""
    lines = [
        f"b,t,{domain},{domain},held_out,m,0,clean,,none,{subgroup},{metric},0.123456789,0.1,0.2,{n},{p},{u},ok"
        for domain, subgroup, metric, n, p, u in rows
    ]
    (folder / "results.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    (folder / "costs.csv").write_text(
        "stage,kind,label,seed,seconds,peak_memory_mb,generated_tokens,status,too_long\na,p,l,0,1.5,2.25,0,ok,7\n"
    )
    texts, _ = exported_tables(folder, K)
    assert next(csv.DictReader(texts["costs.csv"].splitlines()))["too_long"] == ""
    return list(csv.DictReader(texts["results.csv"].splitlines()))


def test_numbers_about_a_few_go_with_their_counts(tmp_path: Path) -> None:
    rows = results(
        tmp_path,
        ("d", "all", "auroc", 100, 40, 0),
        ("d", "sex=F", "auroc", 60, 31, 0),
        ("d", "sex=M", "auroc", 40, 9, 0),
        ("d", "ward=x", "auroc", 50, 20, 0),
        ("d", "ward=y", "auroc", 50, 20, 0),
        ("small", "all", "auroc", 30, 4, 0),
    )
    shown = {(row["domain_eval"], row["subgroup"]): row for row in rows if row["status"] == "ok"}
    assert set(shown) == {("d", "all"), ("d", "ward=x"), ("d", "ward=y")}
    assert shown["d", "all"]["value"] == "0.1235"
    for row in rows:
        if row["status"] == "suppressed":
            assert not any(row[name] for name in ("value", "ci_low", "ci_high", "n_cases", "n_positive", "n_unparsed"))


def test_a_few_unread_answers_can_not_be_calculated(tmp_path: Path) -> None:
    rows = results(
        tmp_path,
        ("d", "all", "auroc", 100, 40, 3),
        ("d", "all", "auroc:parsed_only", 100, 40, 3),
        ("d", "all", "unparsed_rate", 100, 40, 3),
        ("d", "all", "brier", 100, 40, 33),
    )
    assert [row["status"] for row in rows] == ["ok", "suppressed", "suppressed", "ok"]
    assert [row["n_unparsed"] for row in rows] == ["", "", "", "33"]


@pytest.fixture
def run(simulated_run: Any, tmp_path: Path) -> Path:
    """A run folder with everything that a bundle must not hold."""
    folder: Path = simulated_run.write(tmp_path / "run", access="credentialed")
    rows = [row for rows in simulated_run.tables.values() for row in rows[:250]]
    ids = {"case_id": [row["case_id"] for row in rows], "patient_id": [str(row["patient_id"]) for row in rows]}
    pq.write_table(pa.table(ids), folder / "patients.parquet")
    entry = {
        "time": "t",
        "kind": "predict",
        "label": "x",
        "status": "failed",
        "reason": "case c00003",
        "traceback": "c00004",
    }
    (folder / "log.jsonl").write_text(json.dumps(entry) + "\n")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["benchmark"] |= {"attestation": "Ann Jones permits it", "tracker": "http://intern.hospital.org:5000/x"}
    manifest["benchmark"]["data"] = {
        "name": "mimic4",
        "root": "own/place",
        "cache": str(tmp_path),
        "model": "Qwen/Qwen3-4B",
    }
    manifest["data"]["mimic4"]["notes"] = ["case c00005 was strange"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_bundle_holds_aggregates_and_a_page_made_of_them(
    run: Path, tmp_path: Path, cli: Callable[..., Finished]
) -> None:
    done = cli("export", run, "--out", tmp_path / "out.zip")
    assert done.code == 0, done.err
    assert "Left out:" in done.out
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        texts = {name.removeprefix("out/"): archive.read(name).decode() for name in archive.namelist()}
        assert archive.testzip() is None
    figures = {name for name in texts if name.startswith("figures/")}
    assert set(texts) - figures == {
        "README.md", "results.csv", "costs.csv", "log.jsonl", "manifest.json", "report.html",
    }  # fmt: skip
    assert {"figures/performance.svg", "figures/performance.csv"} <= figures
    assert not [name for name in figures if Path(name).stem in {"roc", "precision_recall", "decision", "calibration"}]
    held = "\n".join(texts.values())
    manifest = json.loads((run / "manifest.json").read_text())
    table = pq.read_table(run / "patients.parquet").to_pydict()
    private = {*table["case_id"], *table["patient_id"], *(part["patients_sha256"] for part in manifest["parts"])}
    private |= {part["patients_sha256"][:12] for part in manifest["parts"]}
    private |= {str(tmp_path), "own/place", "intern.hospital.org", "Ann Jones", "was strange", "too short for 3 cases"}
    assert [text for text in private if text in held] == []
    assert "Qwen/Qwen3-4B" in texts["manifest.json"]
    assert "Every number" not in held or "SYNTHETIC" in held
    assert "<svg" in texts["report.html"]


def test_the_same_run_gives_the_same_bundle_and_a_folder_like_the_zip(run: Path, tmp_path: Path) -> None:
    one, two = (export(run, tmp_path / name / "out.zip").path.read_bytes() for name in ("one", "two"))
    assert one == two
    made = export(run, tmp_path / "folder")
    written = (path for path in made.path.rglob("*") if path.is_file())
    assert {path.relative_to(made.path).as_posix() for path in written} == set(made.files)
    with zipfile.ZipFile(tmp_path / "one" / "out.zip") as archive:
        assert archive.read("out/results.csv") == (made.path / "results.csv").read_bytes()


def test_an_id_in_a_label_stops_the_export(run: Path, tmp_path: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["benchmark"]["description"] = "without the patient of case c00007"
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="would hold 1 ids of cases or patients") as raised:
        export(run, tmp_path / "out.zip")
    assert "c00007" not in raised.value.message
    assert not (tmp_path / "out.zip").exists()


def test_an_output_that_exists_and_a_run_about_a_few_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists"):
        export(run, tmp_path)
    with pytest.raises(UserError, match="fewer than 5000 cases of mimic4"):
        export(run, tmp_path / "out.zip", minimum=5000)


def test_counts_of_the_cohort_do_not_give_a_few_away(simulated_run: Any) -> None:
    manifest = simulated_run.manifest(synthetic=False)
    data = manifest["data"]["mimic4"]
    data["exclusions"] = [["too young", 3], ["too short", 5], ["no vitals", 40], ["none", 0], ["unknown", 90]]
    made = exported_manifest(manifest, Suppression(K))["data"]["mimic4"]
    assert made["exclusions"] == [["none", 0], ["unknown", 90], ["one of: too young; too short; no vitals", 48]]
    assert made["implausible"] == {"temperature": 12, "heart_rate": "1 to 10"}
    assert "result_times" not in made
    assert "notes" not in made
    data["exclusions"] = [["too young", 3]]
    made = exported_manifest(manifest, Suppression(K))["data"]["mimic4"]
    assert (made["exclusions"], made["n_patients_read"]) == ([], "not shown")


def test_parts_go_together_if_one_shows_a_few(simulated_run: Any) -> None:
    manifest = simulated_run.manifest(synthetic=False)
    assert len(exported_manifest(manifest, Suppression(K))["parts"]) == 3
    manifest["parts"][1]["n_positive"] = 4
    assert exported_manifest(manifest, Suppression(K))["parts"] == []
    assert is_small(4, K)
