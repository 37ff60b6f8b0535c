"""Stage `predict`: one method, one fold, one condition. Its cases have no labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.contracts.answers import UNPARSED_REASONS, Prediction
from eagbench.contracts.records import Cases
from eagbench.contracts.rules import check_predictions, check_probability
from eagbench.contracts.stages import StageRun

_SCHEMA = pa.schema(
    [
        ("case_id", pa.string()),
        ("probability", pa.float64()),
        ("prior_corrected", pa.float64()),
        ("answer_mode", pa.string()),
        ("cited_features", pa.list_(pa.string())),
        ("attention", pa.map_(pa.string(), pa.float64())),
        ("extras", pa.map_(pa.string(), pa.float64())),
    ]
)

_ROWS = 10_000  # that are Python's objects at a time


def by_method(run: StageRun) -> None:
    """Predict with a method."""
    cases: Cases = run.inputs["cases"]
    predictions = run.component.predict(cases, run)
    write_predictions(cases, predictions, run.out)
    _count_reasons(predictions, run)


def _count_reasons(predictions: Sequence[Prediction], run: StageRun) -> None:
    """Add to the costs how many texts ended inside a thought, and how many answers are missing for a known reason."""
    truncated = sum(trajectory.truncated_thought for p in predictions for trajectory in p.trajectories)
    counts = {"truncated_thought": truncated}
    counts |= {reason: sum(reason in p.extras for p in predictions) for reason in UNPARSED_REASONS}
    for reason, count in counts.items():
        if count:
            run.add_cost(reason, count)


def by_expert(run: StageRun) -> None:
    """Predict with a fitted expert."""
    cases: Cases = run.inputs["cases"]
    expert = type(run.component).load(run.component_params, run.inputs["expert"])
    probability = expert.predict(cases)
    check_probability(probability, len(cases))
    predictions = [
        Prediction(case_id, float(p), "model") for case_id, p in zip(cases.case_ids, probability, strict=True)
    ]
    write_predictions(cases, predictions, run.out)


def write_predictions(cases: Cases, predictions: Sequence[Prediction], folder: Path) -> None:
    """Check predictions and store them.

    Raises:
        ContractError: They are not what a method must return.
    """
    check_predictions(cases, predictions)
    some = (predictions[start : start + _ROWS] for start in range(0, max(len(predictions), 1), _ROWS))
    tables = [pa.Table.from_pylist([_row(p) for p in block], schema=_SCHEMA) for block in some]
    pq.write_table(pa.concat_tables(tables), folder / "predictions.parquet")
    with (folder / "trajectories.jsonl").open("w", encoding="utf-8") as stream:
        for p in predictions:
            for trajectory in p.trajectories:
                stream.write(json.dumps(trajectory.as_json(), sort_keys=True, ensure_ascii=False) + "\n")


def _row(prediction: Prediction) -> dict[str, Any]:
    cited = prediction.cited_features
    return {
        "case_id": prediction.case_id,
        "probability": prediction.probability,
        "prior_corrected": prediction.prior_corrected,
        "answer_mode": prediction.answer_mode,
        "cited_features": None if cited is None else list(cited),
        "attention": _attention(prediction),
        "extras": list(prediction.extras.items()),
    }


def _attention(prediction: Prediction) -> list[tuple[str, float]] | None:
    """Return the policy's attention on the first trajectory, or None if it was not measured."""
    attention = prediction.trajectories[0].attention if prediction.trajectories else None
    return None if attention is None else list(attention.items())
