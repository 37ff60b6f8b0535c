"""The files of a cohort. Cases and labels are in separate files, so that reading one never reads the other."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.contracts.records import Case, Cases, Cohort, Feature, IntArray, Provenance, ResultTimes, Task
from eagbench.stages.parquet_files import read_parquet

_CASES, _LABELS = "cases.parquet", "labels.parquet"
_GROUP, _REFERENCE = "group:", "reference:"


def write_cohort(cohort: Cohort, folder: Path) -> None:
    """Write `cases.parquet`, `measurements.parquet`, `labels.parquet` and `cohort.json`.

    Static facts that `static_names` does not list are stored as well. Code that knows their names finds them on a case;
    other code doesn't read them.
    """
    cases = cohort.cases
    table: dict[str, Any] = {"case_id": list(cases.case_ids), "patient_id": list(cases.patient_ids)}
    unlisted = sorted({name for case in cases for name in case.static} - set(cases.static_names))
    for name in (*cases.static_names, *unlisted):
        table[f"static:{name}"] = np.array([case.static.get(name, np.nan) for case in cases], dtype=np.float64)
    for name, values in cohort.groups.items():
        table[f"{_GROUP}{name}"] = list(values)
    pq.write_table(pa.table(table), folder / _CASES)

    names = cases.feature_names
    columns: dict[str, Any] = {
        "case": np.repeat(np.arange(len(cases), dtype=np.int32), [len(case.times) for case in cases]),
        "time": np.concatenate([case.times for case in cases]) if len(cases) else np.zeros(0),
    }
    stacked = (
        np.concatenate([case.values_in_order(names) for case in cases])
        if len(cases)
        else np.zeros((0, len(names)), np.float32)
    )
    for j, name in enumerate(names):
        columns[f"value:{name}"] = stacked[:, j]
    pq.write_table(pa.table(columns), folder / "measurements.parquet", compression="zstd")

    labels: dict[str, Any] = {"case_id": list(cases.case_ids), "label": np.asarray(cohort.labels, dtype=np.int8)}
    for name, probabilities in cohort.reference_probabilities.items():
        labels[f"{_REFERENCE}{name}"] = np.asarray(probabilities, dtype=np.float64)
    pq.write_table(pa.table(labels), folder / _LABELS)

    facts = {
        "features": [dataclasses.asdict(feature) for feature in cases.features],
        "static_names": list(cases.static_names),
        "task": dataclasses.asdict(cases.task),
        "provenance": dataclasses.asdict(cohort.provenance),
    }
    (folder / "cohort.json").write_text(json.dumps(facts, indent=1, sort_keys=True))


# A stored cohort never changes, and every stage of a run asks for it: each file is read once in a process.
_TABLES = functools.lru_cache(maxsize=16)(read_parquet)


@functools.lru_cache(maxsize=16)
def read_facts(folder: Path) -> Mapping[str, Any]:
    """Read the features, task and provenance of a stored cohort."""
    facts: dict[str, Any] = json.loads((folder / "cohort.json").read_text())
    return facts


@functools.lru_cache(maxsize=4)
def read_cases(folder: Path) -> Cases:
    """Read all cases of a stored cohort, without labels.

    They stay in memory, because every stage of a run needs them.
    """
    facts = read_facts(folder)
    features = tuple(
        Feature(
            **{
                **f,
                "plausible": tuple(f["plausible"]),
                "reference": tuple(f["reference"]),
                "synonyms": tuple(f["synonyms"]),
            }
        )
        for f in facts["features"]
    )
    names = tuple(feature.name for feature in features)
    static_names = tuple(facts["static_names"])
    table = _TABLES(folder / _CASES)
    measurements = read_parquet(folder / "measurements.parquet")
    owner = measurements["case"].to_numpy()
    times = measurements["time"].to_numpy()
    values = np.stack([measurements[f"value:{name}"].to_numpy() for name in names], axis=1)  # (rows, F)
    bounds = np.searchsorted(owner, np.arange(table.num_rows + 1))
    static = {
        column.removeprefix("static:"): table[column].to_numpy()
        for column in table.column_names
        if column.startswith("static:")
    }
    items = [
        Case(
            case_id=case_id,
            patient_id=patient_id,
            features=names,
            times=times[bounds[i] : bounds[i + 1]].copy(),
            values=values[bounds[i] : bounds[i + 1]].copy(),
            static={name: float(of_cases[i]) for name, of_cases in static.items()},
        )
        for i, (case_id, patient_id) in enumerate(
            zip(table["case_id"].to_pylist(), table["patient_id"].to_pylist(), strict=True)
        )
    ]
    return Cases(features, static_names, Task(**facts["task"]), tuple(items))


def read_patients(folder: Path) -> dict[str, str]:
    """Read the patient of each case, by case id in the cohort's order."""
    return _by_case(folder / _CASES, "patient_id")


def group_names(folder: Path) -> list[str]:
    """List the facts by which the data set groups its cases."""
    return [name.removeprefix(_GROUP) for name in _TABLES(folder / _CASES).column_names if name.startswith(_GROUP)]


def read_group(folder: Path, fact: str) -> dict[str, str]:
    """Read the value of a fact for each case, by case id in the cohort's order."""
    return _by_case(folder / _CASES, f"{_GROUP}{fact}")


def read_labels(folder: Path) -> dict[str, int]:
    """Read the label of each case, by case id in the cohort's order."""
    return _by_case(folder / _LABELS, "label")


def read_stored(folder: Path) -> Cohort:
    """Read a whole stored cohort, labels included."""
    cases, labels = read_cases(folder), read_labels(folder)
    facts = dict(read_facts(folder)["provenance"])
    facts["exclusions"] = tuple((reason, n) for reason, n in facts["exclusions"])
    facts["notes"] = tuple(facts["notes"])
    facts["result_times"] = {name: ResultTimes(**times) for name, times in facts["result_times"].items()}
    return Cohort(
        cases=cases,
        labels=labels_of(cases.case_ids, labels),
        provenance=Provenance(**facts),
        groups={name: tuple(read_group(folder, name).values()) for name in group_names(folder)},
    )


def read_reference_probabilities(folder: Path) -> dict[str, dict[str, float]]:
    """Read each reference's probability for each case, by reference and case id."""
    names = [name for name in _TABLES(folder / _LABELS).column_names if name.startswith(_REFERENCE)]
    return {name.removeprefix(_REFERENCE): _by_case(folder / _LABELS, name) for name in names}


def _by_case(path: Path, column: str) -> dict[str, Any]:
    table = _TABLES(path)
    return dict(zip(table["case_id"].to_pylist(), table[column].to_pylist(), strict=True))


def labels_of(case_ids: Sequence[str], labels: dict[str, int]) -> IntArray:
    """Return the labels in the order of `case_ids`, shape (N,)."""
    return np.array([labels[case_id] for case_id in case_ids], dtype=np.int8)
