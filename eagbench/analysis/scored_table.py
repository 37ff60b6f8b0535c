"""The scored table of a cell, and its answers as arrays: what metrics, comparisons and robustness read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from eagbench.analysis.metric_uses import MetricUse
from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray
from eagbench.metrics.number_names import RECALIBRATIONS, UNCORRECTED

# The values of each column, one per case (N,): a list, or an array for numbers.
Columns = Mapping[str, Any]


SCORED_SCHEMA = pa.schema(
    [
        ("case_id", pa.string()),
        ("patient_id", pa.string()),
        ("fold", pa.int64()),
        ("probability", pa.float64()),
        ("prior_corrected", pa.float64()),
        ("recalibrated", pa.float64()),
        ("parsed", pa.bool_()),
        ("answer_mode", pa.string()),
        ("label", pa.int64()),
        ("cited_features", pa.list_(pa.string())),
        ("teacher_features", pa.list_(pa.string())),
        ("constant_features", pa.list_(pa.string())),
        ("attention", pa.map_(pa.string(), pa.float64())),
        ("teacher_salience", pa.map_(pa.string(), pa.float64())),
    ]
)


# The columns that `Answered` is made of.
READ_COLUMNS = (
    *("patient_id", "probability", *RECALIBRATIONS, "parsed", "label", "cited_features", "teacher_features"),
    *("constant_features", "attention", "teacher_salience"),
)

# What stands in the table beside the columns of every run, because a metric asks for it (`MetricTraits.columns`).
_EXTRAS = pa.float64()


def scored_schema(metrics: Sequence[MetricUse]) -> pa.Schema:
    """Build the schema of a run's scored table with these metrics."""
    return pa.schema([*SCORED_SCHEMA, *(pa.field(name, _EXTRAS) for name in asked_columns(metrics))])


def asked_columns(metrics: Sequence[MetricUse]) -> tuple[str, ...]:
    """List the extra columns that metrics ask for, once each.

    Raises:
        ValueError: A metric asks for a column that every run has with another meaning.
    """
    for use in metrics:
        taken = sorted({*use.traits.columns} & {*SCORED_SCHEMA.names})
        if taken:
            raise ValueError(f"the metric '{use.name}' asks for columns that every run has: {', '.join(taken)}")
    return tuple(dict.fromkeys(name for use in metrics for name in use.traits.columns))


def columns_of(rows: Sequence[Mapping[str, Any]], extras: Sequence[str]) -> dict[str, list[Any]]:
    """Turn rows of a scored table into its columns; None for what a row lacks.

    Args:
        rows: N rows.
        extras: Names of the extra columns that metrics ask for.
    """
    return {name: [row.get(name) for row in rows] for name in (*SCORED_SCHEMA.names, *extras)}


def _scored_cases(columns: Columns, extras: Sequence[str]) -> ScoredCases:
    """Turn the columns of a scored table into arrays.

    A method cites if any of its answers has a list; an answer without one then counts as an empty list. An answer
    without an extra number has NaN.
    """

    def lists(column: str) -> tuple[frozenset[str], ...] | None:
        values = columns[column]
        return None if _is_empty(values) else tuple(frozenset(value or ()) for value in values)

    attention, salience = columns["attention"], columns["teacher_salience"]
    return ScoredCases(
        probability=np.array(columns["probability"], dtype=np.float64),
        label=np.array(columns["label"], dtype=np.int64),
        parsed=np.array(columns["parsed"], dtype=bool),
        cited=lists("cited_features"),
        reference=lists("teacher_features"),
        baseline=lists("constant_features"),
        patient=tuple(map(str, columns["patient_id"])),
        attention=None if _is_empty(attention) else tuple(map(_weights, attention)),
        salience=None if _is_empty(salience) else tuple(_weights(value) or {} for value in salience),
        columns={name: _numbers(columns[name]) for name in extras},
    )


def _is_empty(values: list[Any]) -> bool:
    return values.count(None) == len(values)


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """One cell's answers with their labels, in the order of case ids.

    Attributes:
        scored: The cases, with the probabilities as answered.
        probability: The scored probability of each case by calibration, `none` among them, each of shape (N,).
    """

    scored: ScoredCases
    probability: Mapping[str, FloatArray]

    @property
    def patients_are_cases(self) -> bool:
        """Whether every case has a different patient, so that cases are independent."""
        patients = self.scored.patient
        return patients is None or len(set(patients)) == len(patients)


def answered(rows: Sequence[Mapping[str, Any]], extras: Sequence[str] = ()) -> Answered:
    """Turn rows of a scored table into arrays, sorted by case id, with every calibration that all rows have.

    Args:
        rows: N rows.
        extras: Names of the extra columns that metrics ask for.
    """
    return answered_in_order(columns_of(sorted(rows, key=lambda row: str(row["case_id"])), extras), extras)


def answered_in_order(columns: Columns, extras: Sequence[str] = ()) -> Answered:
    """Turn the columns of a scored table, whose cases are in the order of their ids, into arrays as `answered`."""
    scored = _scored_cases(columns, extras)
    recalibrated = {
        name: np.array(values, dtype=np.float64)
        for name, values in ((name, columns[name]) for name in RECALIBRATIONS)
        if isinstance(values, np.ndarray) or None not in values
    }
    return Answered(scored, {UNCORRECTED: scored.probability, **recalibrated})


def _weights(column: Any) -> dict[str, float] | None:
    """Turn a value of a Parquet map column, which arrives as pairs, into a dict."""
    return None if column is None else dict(column)
