"""The stage `examples`: training cases as text for a prompt, with label and cross-fitted expert output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.api import IntArray, RecordText, StageRun, TrainingData
from eagbench_plugins.baselines.expert_output import ExpertOutput, output_on_training

_FILE = "examples.parquet"
_FEATURES = b"features"  # key of the schema's metadata
_SCHEMA = pa.schema(
    [
        ("case_id", pa.string()),
        ("label", pa.int64()),
        ("record", pa.string()),
        ("probability", pa.float64()),
        ("salience", pa.list_(pa.float64())),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """N training cases.

    Attributes:
        case_ids: Their ids.
        labels: 0 or 1, shape (N,).
        records: Their records as text.
        expert: Output of experts that were not trained on these patients; None for a method without an expert.
    """

    case_ids: tuple[str, ...]
    labels: IntArray
    records: tuple[str, ...]
    expert: ExpertOutput | None


def collect(run: StageRun) -> None:
    """Write the training cases. Tuning cases are not used, and held-out cases never reach a training stage."""
    data: TrainingData = run.inputs["training"]
    cases = data.train.cases
    record_text = RecordText.load(run.inputs["record_text"])
    expert = output_on_training(run.inputs["salience"], cases) if "salience" in run.inputs else None
    rows = [
        {
            "case_id": case.case_id,
            "label": int(label),
            "record": record_text.render(case, cases),
            "probability": None if expert is None else float(expert.probability[i]),
            "salience": None if expert is None else expert.salience[i].tolist(),
        }
        for i, (case, label) in enumerate(zip(cases, data.train.labels, strict=True))
    ]
    features = () if expert is None else expert.features
    schema = _SCHEMA.with_metadata({_FEATURES: json.dumps(features)})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), run.out / _FILE)


def read_examples(folder: Path) -> Examples:
    """Read what `collect` wrote."""
    table = pq.read_table(folder / _FILE)
    columns = table.to_pydict()
    expert = None
    if all(value is not None for value in columns["probability"]):
        features = tuple(json.loads(table.schema.metadata[_FEATURES]))
        expert = ExpertOutput(np.array(columns["probability"]), np.array(columns["salience"]), features)
    return Examples(
        case_ids=tuple(columns["case_id"]),
        labels=np.array(columns["label"], dtype=np.int64),
        records=tuple(columns["record"]),
        expert=expert,
    )
