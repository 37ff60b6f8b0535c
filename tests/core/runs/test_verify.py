"""What `verify` proves of a run folder, by itself and with the store; the catalogue of edits is tests/reliability."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eagbench.report.verification import check_report
from eagbench.runs.schema import OWN_HASH, own_hash
from eagbench.runs.verify.findings import Findings
from eagbench.runs.verify.stage_records import stages_by_fingerprint
from eagbench.runs.verify.stored_requests import StoredRequests
from eagbench.runs.verify.stored_stages import StoreComparison, read_stages
from eagbench.runs.verify.verify import verify
from tests.conftest import Finished
from tests.reliability.edit_catalogue import adapt_hashes, edit_csv, edit_manifest, edit_parquet, other_value

BENCHMARK = """\
name: proved
data: {{name: tjh, root: {root}, window_hours: 24}}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}}
methods: [logistic_regression, {{name: logistic_regression, as: broken, max_iterations: 1}}]
metrics: [auroc, brier, unparsed_rate]
subgroups: {{by: [sex], minimum_cases: 10, minimum_positive: 3}}
intervals: {{resamples: 100}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shared_data: Path, run_command: Callable[..., Finished]) -> Path:
    """The folder of a run (`run`), of which one method failed, and of its store (`store`)."""
    folder = tmp_path_factory.mktemp("proved")
    (folder / "b.yaml").write_text(BENCHMARK.format(root=shared_data / "tjh"))
    env = {"EAGBENCH_STORE": str(folder / "store")}
    done = run_command("run", folder / "b.yaml", "--limit", 200, "--out", folder / "run", env=env)
    assert done.code == 1, done.err
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run to edit, with its store where `verify` looks."""
    monkeypatch.setenv("EAGBENCH_STORE", str(made / "store"))
    return shutil.copytree(made / "run", tmp_path / "run")


def problems(run: Path) -> str:
    """Adapt all hashes, verify and join the problems."""
    adapt_hashes(run)
    return "\n".join(verify(run).problems)


def test_an_untouched_run_is_proved_down_to_its_stages(run: Path) -> None:
    findings = verify(run)
    check_report(run, findings)
    assert findings.problems == []
    assert findings.unproved == {}
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    finished = [stage for stage in stages if stage["status"] == "computed"]
    assert findings.checked["stages unchanged in the store"] == len(finished) < len(stages)
    assert findings.checked["report made again"] == 1
    assert findings.checked["files of figures made again"] == len(list((run / "figures").iterdir())) > 0


def test_without_its_store_it_says_what_it_could_not_prove(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAGBENCH_STORE", str(tmp_path / "nowhere"))
    findings = verify(run)
    assert findings.passed
    assert sum(findings.unproved.values()) > 10
    assert "not proved: " in findings.text()
    assert not (tmp_path / "nowhere").exists()


def _moved(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**rows[0], "probability": other_value(rows[0]["probability"])}, *rows[1:]]


def test_an_answer_that_the_stages_did_not_give_is_named(run: Path) -> None:
    edit_parquet("predictions/logistic_regression.parquet", _moved, run)
    assert "predictions/logistic_regression.parquet is not what the store holds: row 0: probability" in problems(run)


def test_a_damaged_stage_in_the_store_is_named(made: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = shutil.copytree(made / "store", run.parent / "store")
    monkeypatch.setenv("EAGBENCH_STORE", str(store))
    [scored, *_] = sorted((store / "score").glob("*/values.json"))
    scored.write_text(scored.read_text().replace("0.9", "0.8", 1))
    assert "values.json was changed" in "\n".join(verify(run).problems)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stages": []}, "stages: list should have at least 1 item"),
        ({"cells": [], "failed": []}, "cells: list should have at least 1 item"),
        ({"limit": None}, "with no limit"),
        ({"limit": 150}, "with a limit of 150"),
        ({"synthetic": True}, "synthetic is True"),
        ({"access": "credentialed"}, "access is 'credentialed'"),
        ({"failed": []}, "0 cells are listed as failed, by stages and log 1"),
        ({"seeds": [0, 1]}, "are not the 4 of the grid"),
        ({"references": [{"domain": "tjh", "name": "oracle", "stage": "0" * 64}]}, "which is not there"),
    ],
)
def test_what_the_manifest_says_follows_from_data_and_benchmark(run: Path, change: dict[str, Any], said: str) -> None:
    edit_manifest(run, lambda manifest: manifest.update(change))
    assert said in problems(run)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("results.csv", lambda rows: [rows[0], *rows], "a row too many or doubled"),
        ("results.csv", lambda rows: rows[1:], "a row is missing"),
        ("results.csv", lambda rows: [rows[1], rows[0], *rows[2:]], "the rows are in another order"),
        ("results.csv", lambda rows: [{**rows[0], "n_cases": "61"}, *rows[1:]], "n_cases is '61', recomputed 60"),
        ("results.csv", lambda rows: [{**rows[0], "status": "OK"}, *rows[1:]], "status is 'OK', recomputed 'ok'"),
        ("results.csv", lambda rows: [{**row, "more": "1"} for row in rows], "other columns than a run writes"),
        ("costs.csv", lambda rows: [{**rows[0], "generated_tokens": "9"}, *rows[1:]], "costs.csv: stage cohort"),
    ],
)
def test_tables_are_compared_whole(run: Path, file: str, change: Callable[..., Any], said: str) -> None:
    edit_csv(file, change, run)
    assert said in problems(run)


def test_a_careless_edit_needs_no_other_proof_than_the_hashes(run: Path) -> None:
    edit_manifest(run, lambda manifest: manifest.update(created="2020-01-01T00:00:00+00:00"))
    assert verify(run).problems == ["manifest.json was changed after the run"]


def test_another_report_is_noticed_and_a_missing_one_is_not_proved(run: Path) -> None:
    report = run / "report.html"
    report.write_text(report.read_text().replace("LIMITED TO 200 PATIENTS.", "", 1))
    findings = verify(run)
    check_report(run, findings)
    assert ["report.html is not the page" in problem for problem in findings.problems] == [True]
    report.unlink()
    findings = verify(run)
    check_report(run, findings)
    assert findings.passed
    assert findings.unproved == {"report.html: it is missing, `eagbench report` makes it again": 1}


def test_an_edited_figure_and_a_stray_one_are_noticed(run: Path) -> None:
    roc = run / "figures" / "roc.csv"
    roc.write_text(roc.read_text().replace("0.5", "0.6", 1))
    (run / "figures" / "roc.svg").unlink()
    (run / "figures" / "mine.svg").write_text("<svg/>")
    adapt_hashes(run)  # which are not those of figures
    findings = verify(run)
    assert findings.passed
    check_report(run, findings)
    assert findings.problems == [
        "figures/roc.csv is not the figure that this folder gives: `eagbench report` makes it again",
        "figures/mine.svg is no figure of this run: keep it elsewhere",
    ]
    assert findings.unproved == {"figures/roc.svg: it is missing, `eagbench report` makes it again": 1}


def test_the_exit_codes_tell_a_false_run_from_no_run(run: Path, cli: Callable[..., Finished], tmp_path: Path) -> None:
    assert cli("verify", run).code == 0
    (run / "results.csv").write_text("")
    assert cli("verify", run).code == 1
    edit_manifest(run, lambda manifest: manifest.update(format=2))
    done = cli("verify", run)
    assert done.code == 2
    assert "recorded other facts for the proof" in done.err
    (run / "manifest.json").write_bytes(b"\xff")
    assert cli("verify", run).code == 2
    assert cli("verify", tmp_path).code == 2


def test_a_proof_of_nothing_is_none() -> None:
    findings = Findings()
    findings.count("points")
    findings.require("points")
    assert findings.passed
    findings.require("answers")
    assert findings.problems == ["nothing is proved: 0 answers"]
    assert "0 answers" in findings.text()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_edit_of_bytes_crashes_it(run: Path, made: Path, data: st.DataObject) -> None:
    names = sorted(p.relative_to(made / "run").as_posix() for p in (made / "run").rglob("*") if p.is_file())
    name = data.draw(st.sampled_from([name for name in names if name not in ("report.html", "manifest.json")]))
    content = (made / "run" / name).read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    put = data.draw(st.binary(max_size=4))
    (run / name).write_bytes(content[:at] + put + content[at + data.draw(st.integers(1, 4)) :])
    adapt_hashes(run)
    verify(run)  # no exception
    (run / name).write_bytes(content)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@pytest.mark.parametrize("folds", [1, 2.0, "2", 10**12])
def test_a_number_of_folds_that_none_can_be_is_named(run: Path, made: Path, folds: object) -> None:
    manifest = json.loads((made / "run" / "manifest.json").read_text())
    manifest["split"]["folds"] = folds
    manifest[OWN_HASH] = own_hash(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert any("split.folds" in problem for problem in verify(run).problems)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_value_in_the_manifest_crashes_it(run: Path, made: Path, data: st.DataObject) -> None:
    manifest = json.loads((made / "run" / "manifest.json").read_text())
    here: Any = manifest
    while True:
        key = data.draw(st.sampled_from(list(here) if isinstance(here, dict) else list(range(len(here)))))
        if not here[key] or not isinstance(here[key], dict | list) or data.draw(st.integers(0, 3)) == 0:
            break
        here = here[key]
    here[key] = data.draw(_JSON)
    if manifest.get("format") != 3 or any(name not in manifest for name in ("name", "methods")):
        return
    manifest[OWN_HASH] = own_hash(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest))
    verify(run)  # no exception


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"mode": "greedy", "samples": 8, "temperature": 1.0}, None),  # before `levels` could be named
        ({"mode": "expectation", "samples": 8, "temperature": 1.0}, "another kind of answer"),
        ({"mode": "greedy", "levels": [0.1, 0.9]}, "another kind of answer"),
    ],
)
def test_a_stage_of_before_a_setting_existed_was_asked_for_its_default(
    run: Path, answer: dict[str, Any], said: str | None
) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    stored = read_stages(manifest, Findings())
    cell = next(cell for cell in manifest["cells"] if cell["method"] == "logistic_regression")
    [predict] = stages_by_fingerprint(manifest)[cell["score"]]["inputs"]["predict"]["stages"]
    facts = {**stored.facts[predict], "params": {**stored.facts[predict]["params"], "answer": answer}}
    older = dataclasses.replace(stored, facts={**stored.facts, predict: facts})
    differs = StoredRequests(manifest, StoreComparison(older, Findings()))._predict_differs(cell, [predict])
    assert differs is None if said is None else said in str(differs)
