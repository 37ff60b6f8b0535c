"""Stage `split`: divides patients, not stays, into training, tuning and held-out parts, stratified and seeded."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.contracts.records import IntArray
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.stages.cohort_files import read_labels, read_patients
from eagbench.stages.parquet_files import read_parquet

PARTS = ("train", "tuning", "held_out")


def assign(run: StageRun) -> None:
    """Write `parts.parquet` (fold, part, case_id, patient_id) and `parts.json` (counts, prevalence, patient hashes).

    Raises:
        UserError: A part would have only one class, or there are too few patients.
    """
    cohort: Path = run.inputs["cohort"]
    patient_of, labels = read_patients(cohort), read_labels(cohort)
    patients = np.array(sorted(set(patient_of.values())))
    # A patient with several cases is positive if one of them is, so that events are spread evenly.
    positive = {patient for case, patient in patient_of.items() if labels[case]}
    patients = taken(patients, run.params)
    strata = np.array([p in positive for p in patients], dtype=int)

    write_parts(
        run.out,
        list(patient_of.items()),
        labels,
        _divide(patients, strata, run.params),
        lambda fold: f" of fold {fold}" if run.params["folds"] is not None else "",
        "take more patients (--limit), another share or fewer folds, or another `split.seed`",
    )


def taken(patients: Any, params: Mapping[str, Any]) -> Any:
    """Take `limit` of the patients, drawn by the split's seed, in their order; all of them without a limit."""
    if params["limit"] is None:
        return patients
    order = np.random.default_rng([params["seed"], 1]).permutation(len(patients))
    return patients[np.sort(order[: params["limit"]])]


def write_parts(
    out: Path,
    cases: Sequence[tuple[str, str]],
    labels: Mapping[str, int],
    folds: Iterable[Mapping[str, Collection[str]]],
    of_fold: Callable[[int], str],
    hint: str,
) -> None:
    """Write `parts.parquet` and `parts.json` for a division of patients.

    Args:
        out: Folder to write into.
        cases: Case id and patient id of every case. Cases of patients in no part are left out.
        labels: Label of every case, by case id.
        folds: For each fold, the patients of each part.
        of_fold: What a message adds to a part's name, by fold.
        hint: What the user can do about a part that has only one class.

    Raises:
        UserError: A part would have only one class.
    """
    patients_of = [{part: frozenset(assigned[part]) for part in PARTS} for assigned in folds]
    rows = [
        (fold, part, case, patient)
        for fold, assigned in enumerate(patients_of)
        for part in PARTS
        for case, patient in cases
        if patient in assigned[part]
    ]
    refusal = OneClass(lambda fold: f"part{of_fold(fold)}", "split", hint)
    write_assignment(out, rows, labels, len(patients_of), refusal)


@dataclass(frozen=True, slots=True)
class OneClass:
    """The error message for a part that would have only one class.

    Attributes:
        named: What comes after the part's name, by fold.
        where: The key of the benchmark that the message names.
        hint: What the user can do about it.
    """

    named: Callable[[int], str]
    where: str
    hint: str


def write_assignment(
    out: Path,
    rows: Sequence[tuple[int, str, str, str]],
    labels: Mapping[str, int],
    n_folds: int,
    one_class: OneClass,
) -> None:
    """Write `parts.parquet` and `parts.json`.

    Args:
        out: Folder to write into.
        rows: Fold, part, case id and patient id.
        labels: Label of every case, by case id.
        n_folds: Number of folds.
        one_class: The error message for a part that would have only one class.

    Raises:
        UserError: A part would have only one class.
    """
    parts: list[dict[str, Any]] = []
    for fold in range(n_folds):
        for part in PARTS:
            mine = [row for row in rows if row[:2] == (fold, part)]
            n_positive = sum(labels[case] for _, _, case, _ in mine)
            if n_positive in (0, len(mine)):
                raise UserError(
                    f"the {part.replace('_', '-')} {one_class.named(fold)} would hold {len(mine)} cases, "
                    f"{n_positive} of them positive: one class only",
                    where=one_class.where,
                    hint=one_class.hint,
                )
            parts.append(
                {
                    "fold": fold,
                    "part": part,
                    "n_cases": len(mine),
                    "n_patients": len({patient for *_, patient in mine}),
                    "n_positive": int(n_positive),
                    "patients_sha256": patient_set_hash(patient for *_, patient in mine),
                }
            )
    columns = dict(zip(("fold", "part", "case_id", "patient_id"), zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table({name: list(column) for name, column in columns.items()}), out / "parts.parquet")
    (out / "parts.json").write_text(json.dumps(parts, indent=1))


@contextmanager
def enough_to_divide(what: str, where: str, hint: str) -> Iterator[None]:
    """Say which part of the benchmark asks for more than there is, where scikit-learn can't divide.

    Args:
        what: What can't be done, as the subject of scikit-learn's own words.
        where: The key of the benchmark.
        hint: What the user can do about it.

    Raises:
        UserError: scikit-learn refused inside.
    """
    try:
        yield
    except ValueError as error:
        raise UserError(f"{what}: {error}", where=where, hint=hint) from error


def _divide(patients: Any, strata: IntArray, params: Mapping[str, Any]) -> Iterable[dict[str, list[str]]]:
    from sklearn.model_selection import StratifiedKFold, train_test_split

    seed = params["seed"]
    counts = f"{len(patients)} patients, {int(strata.sum())} of them with the outcome"
    with enough_to_divide(
        f"{counts}, can't be divided", "split", "take more patients (--limit), other shares or fewer folds"
    ):
        if params["folds"] is None:
            n_held_out, n_tuning = (round(params[part] * len(patients)) for part in ("held_out", "tuning"))
            rest, held_out = train_test_split(
                np.arange(len(patients)), test_size=n_held_out, stratify=strata, random_state=seed
            )
            folds = [(rest, held_out, n_tuning)]
        else:
            splitter = StratifiedKFold(params["folds"], shuffle=True, random_state=seed)
            folds = [
                (rest, held_out, round(params["tuning"] * len(rest)))
                for rest, held_out in splitter.split(patients, strata)
            ]
        result = []
        for rest, held_out, n_tuning in folds:
            train, tuning = train_test_split(rest, test_size=n_tuning, stratify=strata[rest], random_state=seed)
            indices = {"train": train, "tuning": tuning, "held_out": held_out}
            result.append({part: [str(p) for p in patients[np.sort(i)]] for part, i in indices.items()})
        return result


def patient_set_hash(patients: Iterable[str]) -> str:
    """Hash a set of patients with SHA-256, regardless of their order."""
    return hashlib.sha256("\n".join(sorted(set(patients))).encode()).hexdigest()


# A stored split never changes, and every stage of a run asks for it.
@functools.lru_cache(maxsize=32)
def read_parts(folder: Path) -> Sequence[Mapping[str, Any]]:
    """Read the counts and patient-set hashes of each fold and part."""
    parts: list[dict[str, Any]] = json.loads((folder / "parts.json").read_text())
    return tuple(parts)


@functools.lru_cache(maxsize=32)
def read_assignment(folder: Path) -> pa.Table:
    """Read the table of fold, part, case_id and patient_id."""
    return read_parquet(folder / "parts.parquet")
