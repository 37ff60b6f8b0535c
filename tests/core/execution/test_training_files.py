"""What stages leave about their training reaches the run folder, whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from eagbench.runs.schema import TRAINING, TRAINING_COLUMNS, TRAINING_SUMMARIES
from eagbench.runs.verify.verify import verify
from tests.stored_stages import vouch

SUMMARY = {"rounds": 3, "found": {"negative": [1, 2]}}


def test_curves_and_summaries_are_copied_by_their_names(
    cli: Callable[..., Any], tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    """The files of a plugin's stage are put into the store by hand: the writer must not need to know the plugin."""
    benchmark, out = tmp_path / "benchmark.yaml", tmp_path / "out"
    tree = {
        "name": "copied",
        "data": {"name": "physionet2012", "root": str(physionet_root), "task": "in_hospital_mortality"},
        "split": {"folds": 2, "seed": 0},
        "methods": ["logistic_regression", {"name": "logistic_regression", "as": "twin"}],
        "metrics": ["auroc"],
    }
    benchmark.write_text(yaml.safe_dump(tree))
    assert cli("run", benchmark, "--out", out, "--quiet").code == 0
    results = (out / "results.csv").read_bytes()
    assert not (out / TRAINING).exists()
    assert not (out / TRAINING_SUMMARIES).exists()

    experts = sorted(p for p in (store_folder / "expert").iterdir() if p.is_dir())
    assert len(experts) == 2  # one per fold; the twins share them
    for expert in experts:
        lines = [{"step": step, "loss": 1 / step, "note": "text"} for step in (1, 2)]
        (expert / "training.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (expert / "summary.json").write_text(json.dumps(SUMMARY))
        vouch(expert)
    assert cli("run", benchmark, "--out", out, "--quiet").code == 0
    assert (out / "results.csv").read_bytes() == results
    table = pq.read_table(out / TRAINING)
    assert tuple(table.column_names) == TRAINING_COLUMNS
    rows = table.to_pylist()
    assert {(r["method"], r["seed"], r["fold"], r["kind"]) for r in rows} == {
        (method, 0, fold, "expert") for method in ("logistic_regression", "twin") for fold in (0, 1)
    }
    assert {r["stage"] for r in rows} == {expert.name for expert in experts}
    assert [(r["step"], r["name"], r["value"]) for r in rows[:2]] == [(1, "loss", 1.0), (2, "loss", 0.5)]
    summaries = [json.loads(line) for line in (out / TRAINING_SUMMARIES).read_text().splitlines()]
    assert len(summaries) == 4
    assert {json.dumps(s["content"], sort_keys=True) for s in summaries} == {json.dumps(SUMMARY, sort_keys=True)}
    assert {s["file"] for s in summaries} == {"summary.json"}
    assert 'id="training"' in (out / "report.html").read_text()
    assert verify(out).passed
    # The manifest covers them.
    (out / TRAINING_SUMMARIES).write_text("{}\n")
    assert f"{TRAINING_SUMMARIES} was changed after the run" in verify(out).text()

    # Without them in the store, a run into the same folder leaves nothing of theirs.
    for expert in experts:
        (expert / "training.jsonl").unlink()
        (expert / "summary.json").unlink()
        vouch(expert)
    assert cli("run", benchmark, "--out", out, "--quiet").code == 0
    assert not (out / TRAINING).exists()
    assert not (out / TRAINING_SUMMARIES).exists()
