"""Stage `split` where somebody else says who is in which part: a file, the data set's own split, or a fact.

Patients are split, never cases: a patient whose cases are named for two parts is refused, or stays in the held-out part
(else the tuning part) with the cases named for it, and with no other case in any part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.config.suggestions import choices
from eagbench.contracts.records import SOURCE_SPLIT
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.stages.cohort_files import group_names, read_group, read_labels, read_patients
from eagbench.stages.split import PARTS, OneClass, enough_to_divide, taken, write_assignment
from eagbench.stages.split_file import read_split_file

_NOTES = "notes.json"
# A patient of several parts belongs to the first of these.
_PRECEDENCE = ("held_out", "tuning", "train")


@dataclass(frozen=True, slots=True)
class _Cohort:
    """Patient and label of each case."""

    patient_of: Mapping[str, str]
    labels: Mapping[str, int]

    @classmethod
    def read(cls, folder: Path) -> _Cohort:
        return cls(read_patients(folder), read_labels(folder))


@dataclass(frozen=True, slots=True)
class _Given:
    """Who is in which part, before a tuning part is drawn.

    Attributes:
        origin: Who says so, as the subject of a sentence.
        where: What a message points at.
        folds: For each fold, the part of each case that has one.
        notes: What a reader must know.
    """

    origin: str
    where: str
    folds: Sequence[Mapping[str, str]]
    notes: list[str] = field(default_factory=list)


def from_file(run: StageRun) -> None:
    """Divide the patients as a file says.

    Raises:
        UserError: The file is wrong, does not name every case, or names cases of one patient for two parts.
    """
    path = Path(run.params["file"])
    given, cohort = read_split_file(path), _Cohort.read(run.inputs["cohort"])
    id_of = {case: case if given.by_case else patient for case, patient in cohort.patient_of.items()}
    parts = {case: given.parts[named] for case, named in id_of.items() if named in given.parts}
    kind, known = "cases" if given.by_case else "patients", set(id_of.values())
    unknown = [named for named in given.parts if named not in known]
    if len(unknown) == len(given.parts):
        raise UserError(
            f"none of its {len(unknown)} {kind} is in the cohort: it names '{next(iter(given.parts), '')}', the cohort "
            f"'{min(known)}'",
            where=str(path),
            hint="write the ids as `patients.parquet` of a run of this benchmark does",
        )
    notes = [f"The split is that of the file {path.name}, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}."]
    if unknown:
        notes.append(f"{len(unknown)} of its {len(given.parts)} {kind} are not in the cohort.")
    _divide(run, cohort, _Given(f"the file {path.name}", str(path), [parts], notes))


def from_source(run: StageRun) -> None:
    """Divide the patients as the data set's own split says.

    Raises:
        UserError: The data set has no split of its own, or it is not about every case, or names one patient twice.
    """
    cohort = run.inputs["cohort"]
    if SOURCE_SPLIT not in group_names(cohort):
        raise UserError(
            "the data set has no split of its own",
            where="split",
            hint="MEDS' own is metadata/subject_splits.parquet; else give shares, `file` or `by`",
        )
    found = read_group(cohort, SOURCE_SPLIT)
    others = sorted({part for part in found.values() if part and part not in PARTS})
    if others:
        raise UserError(
            f"the data set's own split has the part '{others[0]}', expected {', '.join(PARTS)}",
            where="split",
            hint="write the parts that you want into a file: `split: {file: ...}`",
        )
    parts = {case: part for case, part in found.items() if part}
    given = _Given("the data set's own split", "split", [parts], ["The split is the data set's own."])
    _divide(run, _Cohort.read(cohort), given)


def from_fact(run: StageRun) -> None:
    """Divide the patients by the values of a fact: those that the benchmark names, or folds of values.

    Raises:
        UserError: The data set has no such fact or value, or a patient has cases in two parts.
    """
    cohort, fact = run.inputs["cohort"], run.params["by"]
    facts = [name for name in group_names(cohort) if name != SOURCE_SPLIT]
    if fact not in facts:
        raise UserError(f"the data set has no fact '{fact}'", where="split.by", hint=choices(fact, facts))
    value_of, read = read_group(cohort, fact), _Cohort.read(cohort)
    named = {part: run.params[part] for part in PARTS if isinstance(run.params[part], list)}
    _check_values(fact, named, sorted(set(value_of.values())))
    if run.params["folds"] is not None:
        folds = _folds_of_values(fact, value_of, read.labels, run.params)
    else:
        part_of = {value: part for part, values in named.items() for value in values}
        rest = {} if "train" in named else dict.fromkeys(set(value_of.values()) - part_of.keys(), "train")
        part_of |= rest
        folds = [{case: part_of[value] for case, value in value_of.items() if value in part_of}]
    notes = [f"Patients are divided by {fact}."]
    unnamed = len(value_of) - len(folds[0])
    if unnamed:
        notes.append(f"{unnamed} cases are in no part: no part names their {fact}.")
    _divide(run, read, _Given(f"the split by {fact}", "split", folds, notes), needs_all=False)


def write_notes(folder: Path, notes: Sequence[str]) -> None:
    """Write what a reader must know about a split."""
    (folder / _NOTES).write_text(json.dumps(list(notes), indent=1))


def read_notes(folder: Path) -> Sequence[str]:
    """Read what a reader must know about a split; nothing about one that the seed draws."""
    path = folder / _NOTES
    notes: list[str] = json.loads(path.read_text()) if path.is_file() else []
    return notes


def _check_values(fact: str, named: Mapping[str, Sequence[str]], values: Sequence[str]) -> None:
    for part, listed in named.items():
        for value in listed:
            if value not in values:
                raise UserError(
                    f"no case of the cohort has the {fact} '{value}'",
                    where=f"split.{part}",
                    hint=choices(value, values),
                )


def _folds_of_values(
    fact: str, value_of: Mapping[str, str], labels: Mapping[str, int], params: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Hold out each value of a fact in one fold; the folds have similar numbers of cases and events."""
    from sklearn.model_selection import StratifiedGroupKFold

    cases, n_values = sorted(value_of), len(set(value_of.values()))
    if n_values < params["folds"]:
        raise UserError(
            f"{n_values} values of {fact} can't be divided into {params['folds']} folds",
            where="split.folds",
            hint=f"take at most {n_values} folds",
        )
    splitter = StratifiedGroupKFold(params["folds"], shuffle=True, random_state=params["seed"])
    outcomes, groups = [labels[case] for case in cases], [value_of[case] for case in cases]
    what = f"{len(cases)} cases, {sum(outcomes)} of them with the outcome, can't be divided by {fact}"
    with enough_to_divide(what, "split.folds", "take fewer folds, or more patients (--limit)"):
        divided = list(splitter.split(cases, outcomes, groups))
    folds = []
    for _, held_out in divided:
        mine = {cases[i] for i in held_out}
        folds.append({case: "held_out" if case in mine else "train" for case in cases})
    return folds


def _divide(run: StageRun, cohort: _Cohort, given: _Given, *, needs_all: bool = True) -> None:
    """Write the parts, after drawing a tuning part where none is named."""
    patient_of, labels = cohort.patient_of, cohort.labels
    missing = [case for case in patient_of if case not in given.folds[0]] if needs_all else []
    if missing:
        if run.params["missing"] == "refuse":
            raise UserError(
                f"{given.origin} does not say in which part {len(missing)} of {len(patient_of)} cases are, the first "
                f"is {missing[0]} of patient {patient_of[missing[0]]}",
                where=given.where,
                hint="name them, or leave them out of every part with `missing: leave_out`",
            )
        given.notes.append(f"{len(missing)} cases are in no part: {given.origin} does not name them.")
    chosen = set(taken(np.array(sorted(set(patient_of.values()))), run.params).tolist())
    rows, dropped = [], set()
    for fold, named in enumerate(given.folds):
        parts, overlapping = _without_overlap(named, patient_of)
        dropped |= overlapping
        parts = {case: part for case, part in parts.items() if patient_of[case] in chosen}
        parts = _with_tuning(parts, patient_of, labels, run.params)
        rows += [
            (fold, part, case, patient)
            for part in PARTS
            for case, patient in patient_of.items()
            if parts.get(case) == part
        ]
    if dropped:
        _check_overlap(dropped, given, patient_of, run.params)
    hint = "take other parts, or more patients (--limit)"
    one_class = OneClass(lambda fold: f"part{f' of fold {fold}' if len(given.folds) > 1 else ''}", given.where, hint)
    write_assignment(run.out, rows, labels, len(given.folds), one_class)
    write_notes(run.out, given.notes)


def _without_overlap(parts: Mapping[str, str], patient_of: Mapping[str, str]) -> tuple[dict[str, str], set[str]]:
    """Keep each patient in one part. Return the part of each case that is kept, and the cases that are not."""
    part_of_patient: dict[str, str] = {}
    for part in _PRECEDENCE:
        for case, named in parts.items():
            if named == part:
                part_of_patient.setdefault(patient_of[case], part)
    kept = {case: part for case, part in parts.items() if part_of_patient[patient_of[case]] == part}
    return kept, parts.keys() - kept.keys()


def _check_overlap(dropped: set[str], given: _Given, patient_of: Mapping[str, str], params: Mapping[str, Any]) -> None:
    """Refuse patients in two parts, or note the cases that are left out because of them."""
    patients = sorted({patient_of[case] for case in dropped})
    if params["overlap"] == "refuse":
        raise UserError(
            f"{given.origin} puts {len(patients)} of the patients into two parts, the first is {patients[0]}",
            where=given.where,
            hint="patients are split, not cases: change it, or keep their held-out cases with `overlap: leave_out`",
        )
    where = " in the folds that hold out others" if len(given.folds) > 1 else ""
    given.notes.append(
        f"{len(dropped)} cases of {len(patients)} patients are in no part{where}: the patients are held out, or in the "
        "tuning part, with other cases."
    )


def _with_tuning(
    parts: dict[str, str], patient_of: Mapping[str, str], labels: Mapping[str, int], params: Mapping[str, Any]
) -> dict[str, str]:
    """Draw a tuning part from the training patients by the seed, stratified, if no part is named tuning."""
    from sklearn.model_selection import train_test_split

    if "tuning" in parts.values() or isinstance(params["tuning"], list):
        return parts
    training = [case for case, part in parts.items() if part == "train"]
    patients = sorted({patient_of[case] for case in training})
    positive = {patient_of[case] for case in training if labels[case]}
    counts = f"{len(patients)} training patients, {len(positive)} of them with the outcome"
    hint = "take more training patients, or another share `tuning`"
    with enough_to_divide(f"no tuning part can be drawn from {counts}", "split", hint):
        _, drawn = train_test_split(
            patients,
            test_size=round(params["tuning"] * len(patients)),
            stratify=[patient in positive for patient in patients],
            random_state=params["seed"],
        )
    tuning = set(drawn)
    return {case: "tuning" if part == "train" and patient_of[case] in tuning else part for case, part in parts.items()}
