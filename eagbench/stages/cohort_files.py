"""The files of a cohort. Cases and labels are in separate files, so that reading one never reads the other."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.contracts.cohort_stream import CohortStream
from eagbench.contracts.records import Cases, Cohort, Feature, IntArray, Provenance, ResultTimes, Task
from eagbench.stages.cohort_writer import CASES, FACTS, GROUP, LABELS, MEASUREMENTS, REFERENCE, write_stream
from eagbench.stages.parquet_files import floats, read_parquet
from eagbench.stages.stored_cases import StoredCases

_STATIC = "static:"


def write_cohort(cohort: Cohort, folder: Path) -> None:
    """Write `cases.parquet`, `measurements.parquet`, `labels.parquet` and `cohort.json` (see `CohortWriter`)."""
    write_stream(CohortStream.of(cohort), folder)


# A stored cohort never changes, and every stage of a run asks for it: each file is read once in a process.
_TABLES = functools.lru_cache(maxsize=16)(read_parquet)


@functools.lru_cache(maxsize=16)
def read_facts(folder: Path) -> Mapping[str, Any]:
    """Read the features, task and provenance of a stored cohort."""
    facts: dict[str, Any] = json.loads((folder / FACTS).read_text())
    return facts


@functools.lru_cache(maxsize=4)
def read_cases(folder: Path) -> Cases:
    """Return all cases of a stored cohort, without labels; each is read when it is needed."""
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
    table = _TABLES(folder / CASES)
    items = StoredCases(
        folder / MEASUREMENTS,
        tuple(feature.name for feature in features),
        (tuple(table["case_id"].to_pylist()), tuple(table["patient_id"].to_pylist())),
        {
            column.removeprefix(_STATIC): floats(table[column])
            for column in table.column_names
            if column.startswith(_STATIC)
        },
    )
    return Cases(features, tuple(facts["static_names"]), Task(**facts["task"]), items)


def read_static(folder: Path, name: str) -> dict[str, float]:
    """Read a static fact of each case, by case id in the cohort's order; NaN where it is unknown."""
    return _by_case(folder / CASES, f"{_STATIC}{name}")


def read_patients(folder: Path) -> dict[str, str]:
    """Read the patient of each case, by case id in the cohort's order."""
    return _by_case(folder / CASES, "patient_id")


def group_names(folder: Path) -> list[str]:
    """List the facts by which the data set groups its cases."""
    return [name.removeprefix(GROUP) for name in _TABLES(folder / CASES).column_names if name.startswith(GROUP)]


def read_group(folder: Path, fact: str) -> dict[str, str]:
    """Read the value of a fact for each case, by case id in the cohort's order."""
    return _by_case(folder / CASES, f"{GROUP}{fact}")


def read_labels(folder: Path) -> dict[str, int]:
    """Read the label of each case, by case id in the cohort's order."""
    return _by_case(folder / LABELS, "label")


def read_stored(folder: Path) -> Cohort:
    """Read a whole stored cohort, labels included."""
    cases, labels = read_cases(folder), read_labels(folder)
    facts = dict(read_facts(folder)["provenance"])
    facts["exclusions"] = tuple((reason, n) for reason, n in facts["exclusions"])
    facts["notes"] = tuple(facts["notes"])
    facts["result_times"] = {
        name: ResultTimes(**{**times, "lag_hours": times["lag_hours"] and tuple(times["lag_hours"])})
        for name, times in facts["result_times"].items()
    }
    return Cohort(
        cases=cases,
        labels=labels_of(cases.case_ids, labels),
        provenance=Provenance(**facts),
        groups={name: tuple(read_group(folder, name).values()) for name in group_names(folder)},
    )


def read_reference_probabilities(folder: Path) -> dict[str, dict[str, float]]:
    """Read each reference's probability for each case, by reference and case id."""
    names = [name for name in _TABLES(folder / LABELS).column_names if name.startswith(REFERENCE)]
    return {name.removeprefix(REFERENCE): _by_case(folder / LABELS, name) for name in names}


def _by_case(path: Path, column: str) -> dict[str, Any]:
    table = _TABLES(path)
    return dict(zip(table["case_id"].to_pylist(), table[column].to_pylist(), strict=True))


def labels_of(case_ids: Sequence[str], labels: dict[str, int]) -> IntArray:
    """Return the labels in the order of `case_ids`, shape (N,)."""
    return np.array([labels[case_id] for case_id in case_ids], dtype=np.int8)
