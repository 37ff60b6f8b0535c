"""`eagbench show` and the page of cases on a whole small run: what they show is what the run met, from its store."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from eagbench.contracts.records import Case
from eagbench.report.cases.terminal import plain
from eagbench.report.cases.training_text import tree_lines
from eagbench.runs.cases.records import outside, record_changes
from tests.conftest import Finished
from tests.core.report.cases.test_page_of_cases import handed_over

BENCHMARK = """
name: looked_into
data: {{name: tjh, root: "{root}", window_hours: 24}}
policy: {{name: tiny, steps: 40, hidden_dim: 32, layers: 1}}
record_text: {{values: raw, periods: 1, instructions: short}}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}}
reference_expert: logistic_regression
methods:
  - logistic_regression
  - {{name: prompt, as: asked, style: vanilla, max_new_tokens: 4}}
  - name: trajectory_distillation
    as: searched
    expert: logistic_regression
    search: expert_mcts
    token_budget: 96
    max_new_tokens: 48
    max_training_cases: 6
    sft: {{steps: 2}}
conditions: [clean, {{name: missing_values, severity: [0.5]}}]
subgroups: {{by: [sex], minimum_cases: 5, minimum_positive: 2}}
metrics: [auroc, brier, citation_jaccard]
intervals: {{resamples: 100}}
seeds: [0]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shared_data: Path, run_command: Callable[..., Finished]) -> Path:
    """The folder of a run (`run`), of its benchmark, and of its store (`store`)."""
    folder = tmp_path_factory.mktemp("looked_into")
    (folder / "b.yaml").write_text(BENCHMARK.format(root=shared_data / "tjh"))
    env = {"EAGBENCH_STORE": str(folder / "store")}
    done = run_command("run", folder / "b.yaml", "--limit", 60, "--out", folder / "run", env=env)
    assert done.code in (0, 1), done.err
    assert not (folder / "run" / "cases.html").exists()
    page = run_command("report", folder / "run", "--cases", env=env)
    assert page.code == 0, page.err
    assert f"cases: {folder / 'run' / 'cases.html'}" in page.out
    return folder


@pytest.fixture
def store(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EAGBENCH_STORE", str(made / "store"))
    return made / "store"


def worst(run: Path, method: str) -> tuple[str, float]:
    """Return the case that a method predicted worst, and the answer."""
    rows = pq.read_table(run / "predictions" / f"{method}.parquet").to_pylist()
    rows = [row for row in rows if row["condition"] == "clean" and row["parsed"]]
    row = max(rows, key=lambda row: abs(row["probability"] - row["label"]))
    return row["case_id"], row["probability"]


@pytest.mark.slow
def test_the_list_begins_with_the_worst_predicted_case(cli: Callable[..., Finished], made: Path, store: Path) -> None:
    shown = cli("show", made / "run", "--method", "logistic_regression", "--limit", 3)
    assert shown.code == 0, shown.err
    case_id, probability = worst(made / "run", "logistic_regression")
    first = shown.out.splitlines()[3].split()
    assert first[0] == case_id
    assert float(first[2]) == pytest.approx(probability, abs=5e-4)


@pytest.mark.slow
def test_the_prompt_is_the_one_of_eagbench_prompt(cli: Callable[..., Finished], made: Path, store: Path) -> None:
    case_id = worst(made / "run", "logistic_regression")[0]
    expected = cli("prompt", made / "b.yaml", case_id, "--method", "asked", "--limit", 60).out.strip()
    shown = cli("show", made / "run", case_id, "--method", "asked")
    assert shown.code == 0, shown.err
    assert expected
    assert expected in shown.out
    [index] = handed_over(made / "run" / "cases" / "index.js")
    i = index["settings"][0]["ids"].index(case_id)
    _, details, texts = handed_over(made / "run" / "cases" / f"held_out-0-{i // index['perShard']}.js")
    prompt = "".join(texts[p] for p in details[i % index["perShard"]]["prompts"]["asked"])
    assert prompt.strip() == expected


@pytest.mark.slow
def test_what_a_perturbation_changed_is_said(cli: Callable[..., Finished], made: Path, store: Path) -> None:
    case_id = worst(made / "run", "logistic_regression")[0]
    shown = cli("show", made / "run", case_id, "--method", "logistic_regression", "--condition", "missing_values")
    assert shown.code == 0, shown.err
    found = re.search(r"(\d+) of (\d+) values removed", shown.out)
    assert found
    assert 0.2 < int(found[1]) / int(found[2]) < 0.8
    assert "-> none" in shown.out


@pytest.mark.slow
def test_training_cases_come_with_tree_and_rewards(cli: Callable[..., Finished], made: Path, store: Path) -> None:
    listed = cli("show", made / "run", "--training")
    assert "6 training cases searched" in listed.out
    [index] = handed_over(made / "run" / "cases" / "index.js")
    assert index["missing"] == []
    [search] = index["searches"]
    assert len(search["ids"]) == 6
    one = cli("show", made / "run", search["ids"][0], "--training")
    assert "search tree: visits, mean and best return, step" in one.out
    _, details, _ = handed_over(made / "run" / "cases" / "searched-0-0.js")
    visits = [node[2] for node in details[0]["tree"]]
    assert visits[0] == max(visits) > 0
    assert details[0]["tree"][0][0] is None


@pytest.mark.slow
def test_without_the_store_the_case_says_what_is_missing(
    cli: Callable[..., Finished], made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAGBENCH_STORE", str(tmp_path / "empty"))
    run = shutil.copytree(made / "run", tmp_path / "run")
    case_id = worst(run, "logistic_regression")[0]
    shown = cli("show", run, case_id, "--method", "asked")
    assert shown.code == 0, shown.err
    assert "not shown: the store lacks" in shown.out
    assert f"case {case_id}: the label is" in shown.out
    refused = cli("show", run, "--training")
    assert refused.code == 2
    assert "the store lacks trajectories" in refused.err


@pytest.mark.slow
def test_the_page_of_a_credentialed_run_is_private_and_says_so(
    cli: Callable[..., Finished], made: Path, store: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(made / "run", tmp_path / "run")
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"access": "credentialed"}))
    for path in (run / "cases.html", *(run / "cases").iterdir()):
        path.unlink()
    assert cli("report", run).code == 0
    assert not (run / "cases.html").exists()
    asked = cli("report", run, "--cases")
    assert asked.code == 0, asked.err
    assert "they must not leave this machine" in asked.err
    assert "CREDENTIALED DATA" in (run / "cases.html").read_text()
    assert (run / "cases.html").stat().st_mode & 0o077 == 0
    assert 'href="cases.html"' in (run / "report.html").read_text()


def test_unknown_names_are_named_with_a_suggestion(
    cli: Callable[..., Finished], simulated_run: Any, tmp_path: Path
) -> None:
    folder = simulated_run.write(tmp_path / "run")
    assert "did you mean 'lightgbm'?" in cli("show", folder, "--method", "lightgmb").err
    assert "missing_values 0.3" in cli("show", folder, "--condition", "missing_values 0.9").err
    assert cli("show", folder, "--only", "right").code == 2
    assert "did you mean 'c00001'?" in cli("show", folder, "c00001x").err


def test_changes_are_counted_by_what_happened_to_a_value() -> None:
    nan = np.nan
    clean = Case("c", "p", ("a", "b"), np.array([0.0, 1.0]), np.array([[1, 2], [3, nan]], np.float32), {"age": 60.0})
    changed = Case(
        "c",
        "p",
        ("b", "a"),
        np.array([0.0, 1.0, 2.0]),
        np.array([[2, nan], [5, 4], [nan, 9]], np.float32),
        {"age": nan},
    )
    found = record_changes(clean, changed, most=2)
    assert found.summary == (
        "1 of 3 values removed",
        "1 of 3 values altered",
        "2 values added",
        "2 of 2 features in another place",
        "age removed",
    )
    assert found.values == (("a", 0.0, 1.0, None), ("a", 1.0, 3.0, 4.0))
    assert found.n_values == 4
    assert record_changes(clean, clean, most=2).summary == ()


def test_values_are_marked_beyond_the_limits_only() -> None:
    assert [outside(v, (3.5, 5.1)) for v in (3.4, 3.5, 5.1, 5.2)] == ["low", "", "", "high"]
    assert outside(1000.0, (None, None)) == ""
    assert outside(41.0, (None, 40.0)) == "high"


def test_a_text_cannot_steer_the_terminal() -> None:
    assert plain("a\x1b[2Jb\u202ec\td") == "a\\x1b[2Jb\\u202ec\td"


def test_a_tree_is_drawn_below_its_parents() -> None:
    def node(parent: int | None, text: str, visits: int) -> dict[str, Any]:
        return {"parent": parent, "text": text, "visits": visits, "mean": 0.5, "best": 1.0 if visits else None}

    tree = [node(None, "", 3), node(0, "first", 2), node(0, "second", 0), node(1, "deeper", 1)]
    assert list(tree_lines(tree))[1:] == [
        "  3x  0.50  1.00  (root)",
        "    2x  0.50  1.00  first",
        "      1x  0.50  1.00  deeper",
        "    0x  0.50  -  second",
    ]
