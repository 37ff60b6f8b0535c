"""All answers of a run by case: one number per case, method and condition, and each seed's answer where it is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eagbench.analysis.cells import CLEAN, ConditionKey
from eagbench.contracts.records import BoolArray, FloatArray, IntArray
from eagbench.errors import UserError
from eagbench.runs.predictions import SETTING, Setting, has_predictions, predictions_path
from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import SUBGROUPS
from eagbench.stages.parquet_files import floats, read_parquet

# Beyond it an answer calls the outcome likely: an answer on the other side than the label is wrong.
THRESHOLD = 0.5
_KEYS = (*SETTING, "condition", "severity", "seed")
_NUMBERS = ("case_id", "patient_id", "label", "fold", "probability", "parsed")


@dataclass(frozen=True, slots=True, eq=False)
class MethodAnswers:
    """The answers of a method under one condition, the mean over seeds. Arrays have one entry per case (N,).

    Attributes:
        probability: Mean of the scored probabilities; NaN for a case that it has no answer to.
        parsed: Whether every seed's answer could be read.
    """

    probability: FloatArray
    parsed: BoolArray

    def error(self, label: IntArray) -> FloatArray:
        """Return the distance of each answer from its label; NaN for one that could not be read."""
        return np.where(self.parsed, np.abs(self.probability - label), np.nan)


@dataclass(frozen=True, eq=False)
class SettingCases:
    """The evaluated cases of one task and pair of domains.

    Attributes:
        setting: Task, domain of training, domain of evaluation.
        case_id: Their ids, sorted. Length N.
        patient_id: The patient of each. Length N.
        label: 0 or 1, shape (N,).
        fold: The fold in which each is held out, shape (N,).
        subgroups: The case ids of each subgroup; empty if the run has none.
        answers: By method (references included) and condition.
    """

    setting: Setting
    case_id: tuple[str, ...]
    patient_id: tuple[str, ...]
    label: IntArray
    fold: IntArray
    subgroups: Mapping[str, frozenset[str]]
    answers: Mapping[tuple[str, ConditionKey], MethodAnswers]

    def __len__(self) -> int:
        return len(self.case_id)

    @cached_property
    def conditions(self) -> tuple[ConditionKey, ...]:
        """The conditions with answers, in order of first appearance."""
        return tuple(dict.fromkeys(condition for _, condition in self.answers))

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The methods with answers on unchanged records, in the benchmark's order, then the references."""
        return tuple(method for method, condition in self.answers if condition == (CLEAN, None))


def read_settings(run: RunFolder) -> list[SettingCases]:
    """Read the answers of all methods and references, for each task and pair of domains.

    Raises:
        UserError: The run folder holds no answers, as a bundle that was exported.
    """
    names = [name for name in (*run.methods, *run.references) if has_predictions(run.path, name)]
    if not names:
        raise UserError(
            "the run folder holds no answers to single cases",
            where=str(run.path),
            hint="give the folder that `eagbench run` wrote; a bundle from `eagbench export` leaves cases out",
        )
    found: dict[Setting, dict[tuple[str, ConditionKey], pa.Table]] = {}
    for name in names:
        table = read_parquet(predictions_path(run.path, name), [*_KEYS, *_NUMBERS])
        for setting, condition, rows in _by_condition(table):
            found.setdefault(setting, {})[name, condition] = rows
    members = _members(run)
    order = [(c["name"], c["severity"]) for c in run.manifest["conditions"]]
    return [
        _setting_cases(setting, dict(sorted(tables.items(), key=lambda item: order.index(item[0][1]))), members)
        for setting, tables in sorted(found.items())
    ]


def _by_condition(table: pa.Table) -> Iterator[tuple[Setting, ConditionKey, pa.Table]]:
    places = table.select([*SETTING, "condition", "severity"]).group_by([*SETTING, "condition", "severity"])
    for row in places.aggregate([]).to_pylist():
        severity = row["severity"]
        same = pc.equal(table["condition"], row["condition"])
        for key in SETTING:
            same = pc.and_(same, pc.equal(table[key], row[key]))
        found = pc.is_null(table["severity"]) if severity is None else pc.equal(table["severity"], severity)
        setting = tuple(str(row[key]) for key in SETTING)
        yield setting, (row["condition"], severity), table.filter(pc.and_(same, found))


def _setting_cases(
    setting: Setting,
    tables: Mapping[tuple[str, ConditionKey], pa.Table],
    members: Mapping[tuple[str, str], frozenset[str]],
) -> SettingCases:
    facts: dict[str, tuple[str, int, int]] = {}
    for table in tables.values():
        columns = (table[name].to_pylist() for name in ("case_id", "patient_id", "label", "fold"))
        facts.update((case, (patient, label, fold)) for case, patient, label, fold in zip(*columns, strict=True))
    ids = sorted(facts)
    place = {case_id: i for i, case_id in enumerate(ids)}
    return SettingCases(
        setting=setting,
        case_id=tuple(ids),
        patient_id=tuple(facts[case_id][0] for case_id in ids),
        label=np.array([facts[case_id][1] for case_id in ids], dtype=np.int64),
        fold=np.array([facts[case_id][2] for case_id in ids], dtype=np.int64),
        subgroups={name: cases for (domain, name), cases in members.items() if domain == setting[2]},
        answers={key: _mean_answers(table, place) for key, table in tables.items()},
    )


def _mean_answers(table: pa.Table, place: Mapping[str, int]) -> MethodAnswers:
    at = np.array([place[case_id] for case_id in table["case_id"].to_pylist()], dtype=np.int64)
    count = np.bincount(at, minlength=len(place))
    total = np.bincount(at, weights=floats(table["probability"]), minlength=len(place))
    parsed = np.bincount(at, weights=table["parsed"].to_numpy().astype(np.float64), minlength=len(place))
    with np.errstate(invalid="ignore"):
        return MethodAnswers(np.where(count > 0, total / count, np.nan), (count > 0) & (parsed == count))


def _members(run: RunFolder) -> dict[tuple[str, str], frozenset[str]]:
    path = run.path / SUBGROUPS
    if not path.is_file():
        return {}
    found: dict[tuple[str, str], set[str]] = {}
    for row in read_parquet(path).to_pylist():
        found.setdefault((row["domain_eval"], row["subgroup"]), set()).add(row["case_id"])
    return {key: frozenset(cases) for key, cases in found.items()}


def answer_table(folder: Path, method: str, setting: Setting, condition: ConditionKey) -> pa.Table:
    """Read each seed's answers of a method in full; no rows for a method without answers there.

    Args:
        folder: The run folder.
        method: A method or reference.
        setting: Task and domains.
        condition: Condition and severity.
    """
    filters: list[tuple[str, str, Any]] = [
        *((key, "==", value) for key, value in zip(SETTING, setting, strict=True)),
        ("condition", "==", condition[0]),
    ]
    if condition[1] is not None:
        filters.append(("severity", "==", condition[1]))
    return pq.read_table(predictions_path(folder, method), filters=filters)


def rows_by_case(table: pa.Table, case_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of some cases, one per seed, by case id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in table.filter(pc.is_in(table["case_id"], value_set=pa.array(case_ids, pa.string()))).to_pylist():
        found.setdefault(row["case_id"], []).append(row)
    return found


def written_texts(
    folder: Path, method: str, setting: Setting, condition: ConditionKey, case_id: str | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Read what a method wrote, by case id; nothing for one that writes nothing.

    Args:
        folder: The run folder.
        method: A method.
        setting: Task and domains.
        condition: Condition and severity.
        case_id: The case; None for all.
    """
    path = folder / "trajectories" / f"{method}.jsonl"
    if not path.is_file():
        return {}
    wanted = (setting[1], setting[2], *condition)
    found: dict[str, list[dict[str, Any]]] = {}
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            written = json.loads(line)
            keys = tuple(written[key] for key in ("domain_train", "domain_eval", "condition", "severity"))
            if keys == wanted and case_id in (None, written["case_id"]):
                found.setdefault(written["case_id"], []).append(written)
    return found
