"""A method that answers nothing has no numbers; the run says so, shows what it wrote, and keeps its tests."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from eagbench.report.run_comparison import render
from eagbench.runs.compare import compare_runs
from eagbench.runs.verify.verify import verify
from tests.conftest import Finished
from tests.local_server import LocalServer, Reply, Request, message

REFUSAL = "I can't <tell> from these numbers & will not guess."
BENCHMARK = """
name: silent
data: {{name: tjh, root: {root}, window_hours: 24}}
split: {{train: 0.6, tuning: 0.1, held_out: 0.3, seed: 0}}
policy: {{name: openai, base_url: "{url}", model: m, patience_s: 1, max_retries: 1}}
record_text: {{values: raw, periods: 2}}
answer: greedy
methods:
  - logistic_regression
  - {{name: prompt, style: vanilla, as: silent}}
  - {{name: prompt, style: think_answer, as: third}}
conditions: [clean, {{name: missing_values, severity: [0.5]}}]
seeds: [{seeds}]
metrics: [auroc, brier, unparsed_rate]
comparisons: {{method: logistic_regression, metric: auroc}}
intervals: {{resamples: 100}}
"""


def reply(request: Request, _: int) -> Reply:
    """Refuse prompts of the style `vanilla`, and about a third of the others."""
    prompt = request.body["messages"][0]["content"]
    refuses = "<think>" not in prompt or int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % 3 == 0
    written = REFUSAL if refuses else f"<think>a</think><answer>0.{10 + len(prompt) % 80}</answer>"
    return Reply(message(content=written))


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    server = LocalServer(reply)
    yield server
    server.close()


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, shared_data: Path, run_command: Callable[..., Finished], server: Any
) -> tuple[Path, Finished]:
    folder = tmp_path_factory.mktemp("silent")
    benchmark = folder / "b.yaml"
    benchmark.write_text(BENCHMARK.format(root=shared_data / "tjh", url=server.url, seeds=0))
    done = run_command("run", benchmark, "--out", folder / "run", env={"EAGBENCH_STORE": str(folder / "store")})
    assert done.code == 0, done.err
    return folder / "run", done


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_after_32_unreadable_answers_the_others_are_not_attempted(finished: Any, server: LocalServer) -> None:
    run, _ = finished
    table = pq.read_table(run / "predictions" / "silent.parquet").to_pylist()
    for condition in ("clean", "missing_values"):
        modes = Counter(row["answer_mode"] for row in table if row["condition"] == condition)
        assert modes == {"greedy": 32, "not_attempted": len(table) // 2 - 32}
    texts = (run / "trajectories" / "silent.jsonl").read_text().splitlines()
    assert len(texts) == 2 * 32
    asked = [request for request in server.requests if "<think>" not in request.body["messages"][0]["content"]]
    # A record without a value that could be removed is the same prompt again, which the store's cache answers.
    assert 32 < len(asked) <= 2 * 32
    answered = pq.read_table(run / "predictions" / "third.parquet").to_pylist()
    assert {row["answer_mode"] for row in answered} == {"greedy"}
    assert len(answered) == len(table)


def test_a_silent_method_has_no_number_under_any_name(finished: Any) -> None:
    run, _ = finished
    rows = [row for row in rows_of(run / "results.csv") if row["method"] == "silent"]
    assert {row["metric"] for row in rows} == {"auroc", "brier", "unparsed_rate"}
    assert {(row["status"], row["value"], row["ci_low"], row["ci_high"]) for row in rows} == {
        ("unanswered", "", "", "")
    }
    assert {row["n_unparsed"] for row in rows} == {row["n_cases"] for row in rows}
    others = [row for row in rows_of(run / "results.csv") if row["method"] != "silent"]
    assert {row["status"] for row in others} == {"ok"}
    assert verify(run).problems == []


def test_terminal_page_and_tables_say_it_first(finished: Any) -> None:
    run, done = finished
    opening = "UNPARSED ANSWERS: silent (100.0 %), third ("
    assert done.out.lstrip().startswith(opening)
    for number in (1, 2, 3):
        assert f"  {number}. {REFUSAL!r}" in done.out
    silent_line = next(line for line in done.out.splitlines() if line.startswith("| silent"))
    assert silent_line.count("unanswered") == 3
    assert "0.500" not in silent_line
    page = (run / "report.html").read_text()
    body = page[page.index("<body") :]
    assert "could not be read" in body[: body.index('class="opening"', body.index('class="opening"') + 1)]
    assert body.count("I can&#39;t &lt;tell&gt; from these numbers &amp; will not guess.") == 6
    assert "not attempted" in body
    captions = body.count("<figcaption")
    assert body.count("UNPARSED ANSWERS:") == captions + 1  # and beside the first lines


def test_a_page_of_credentialed_data_shows_no_text_of_a_model(
    finished: Any, tmp_path: Path, run_command: Callable[..., Finished]
) -> None:
    run = shutil.copytree(finished[0], tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"access": "credentialed"}))
    assert run_command("report", run).code == 0
    page = (run / "report.html").read_text()
    assert "will not guess" not in page
    assert "what silent wrote instead is shown in trajectories/silent.jsonl only" in page


def test_the_tests_of_a_silent_method_stay_in_their_family(finished: Any) -> None:
    run, _ = finished
    rows = rows_of(run / "comparisons.csv")
    primary = {row["baseline"]: row for row in rows if row["family"] == "primary"}
    assert sorted(primary) == ["silent", "third"]
    silent, third = primary["silent"], primary["third"]
    assert (silent["difference"], silent["ci_low"]) == ("", "")
    assert (float(silent["p_value"]), float(silent["p_corrected"])) == (1.0, 1.0)
    assert float(third["p_corrected"]) == pytest.approx(min(1.0, 2 * float(third["p_value"])))
    grid = {
        (row["metric"], row["condition"]) for row in rows if row["family"] == "grid" and row["baseline"] == "silent"
    }
    assert grid == {(m, c) for m in ("auroc", "brier", "unparsed_rate") for c in ("clean", "missing_values")} - {
        ("auroc", "clean")
    }
    assert len({row["test"] for row in rows if row["baseline"] == "silent"}) == len(grid) + 1
    lost = [row for row in rows_of(run / "robustness.csv") if row["baseline"] == "silent"]
    assert {(row["summary"], row["metric"], row["condition"]) for row in lost} == {
        ("degradation", metric, "missing_values") for metric in ("auroc", "brier", "unparsed_rate")
    }
    assert {(row["value"], float(row["p_value"]), float(row["p_corrected"])) for row in lost} == {("", 1.0, 1.0)}


def test_runs_are_compared_without_a_number_of_a_silent_method(finished: Any) -> None:
    run, _ = finished
    found = compare_runs(run, run, pairs=["third=silent", "third=logistic_regression"])
    primary = [row for row in found.rows if row["family"] == "primary"]
    assert sorted(row["second"] for row in primary) == ["logistic_regression", "silent"]
    of_silent = [row for row in found.rows if row["second"] == "silent"]
    assert {row["metric"] for row in of_silent} == {"auroc", "brier", "unparsed_rate"}
    assert {(row["p_value"], row["p_corrected"]) for row in of_silent} == {(1.0, 1.0)}
    assert all(np.isnan(row["difference"]) for row in of_silent)
    other = next(row for row in primary if row["second"] == "logistic_regression")
    assert other["p_corrected"] == pytest.approx(min(1.0, 2 * other["p_value"]))
    line = next(line for line in render(found, ".md").splitlines() if line.startswith("| third minus silent | clean"))
    assert line.split(" | ")[2] == "unanswered"
    assert line.endswith("| 1.000 | 1.000 |")


def test_32_cases_or_fewer_are_all_asked(
    tmp_path: Path, shared_data: Path, cli: Callable[..., Finished], server: Any, store_folder: Path
) -> None:
    benchmark = tmp_path / "b.yaml"
    benchmark.write_text(BENCHMARK.format(root=shared_data / "tjh", url=server.url, seeds="0, 1"))
    done = cli("run", benchmark, "--limit", 60, "--out", tmp_path / "run", "--quiet")
    assert done.code == 0, done.err
    table = pq.read_table(tmp_path / "run" / "predictions" / "silent.parquet").to_pylist()
    assert {row["answer_mode"] for row in table} == {"greedy"}
    rows = [row for row in rows_of(tmp_path / "run" / "results.csv") if row["method"] == "silent"]
    assert {(row["status"], row["value"]) for row in rows} == {("unanswered", "")}
    mean = next(row for row in rows if row["seed"] == "mean")
    assert int(mean["n_unparsed"]) == 2 * int(mean["n_cases"])
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["failed"] == []
