"""Stage `recalibration`: a curve fitted to a method's answers on tuning cases. It uses no held-out case."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.contracts.records import TrainingData
from eagbench.contracts.stages import StageRun
from eagbench.stages.parquet_files import read_parquet
from eagbench.stats.recalibration import Recalibration, fit_recalibration

TUNING = "tuning.parquet"
_FILE = "recalibration.json"


def fit(run: StageRun) -> None:
    """Fit the curve, and write `recalibration.json` and `tuning.parquet`.

    The first contains the curve, or why there is none. The second contains the data it was fitted to.

    Raises:
        ValueError: The predictions do not cover the tuning cases exactly.
    """
    data: TrainingData = run.inputs["training"]
    rows = read_parquet(run.inputs["predictions"] / "predictions.parquet").to_pylist()
    labels = dict(zip(data.tuning.cases.case_ids, data.tuning.labels.tolist(), strict=True))
    if sorted(row["case_id"] for row in rows) != sorted(labels):
        raise ValueError("the predictions do not cover the tuning cases exactly once")
    answered = sorted((row["case_id"], row["probability"]) for row in rows if row["probability"] is not None)
    probability = np.array([p for _, p in answered], dtype=np.float64)
    label = np.array([labels[case_id] for case_id, _ in answered], dtype=np.int64)
    (run.out / _FILE).write_text(json.dumps(dataclasses.asdict(fit_recalibration(probability, label)), indent=1))
    pq.write_table(
        pa.table({"case_id": [case_id for case_id, _ in answered], "probability": probability, "label": label}),
        run.out / TUNING,
    )


def read_recalibration(folder: Path) -> Recalibration:
    """Read what `fit` wrote."""
    return Recalibration(**json.loads((folder / _FILE).read_text(encoding="utf-8")))
