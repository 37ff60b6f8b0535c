"""Stage `split` of a sweep's trials: it divides the training and tuning patients of another split, and no others.

What is called `held_out` here are training or tuning patients of the benchmark. Its held-out patients are in no part,
so nothing that a trial computes has seen one of them, whatever the trial asks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.cohort_files import read_labels
from eagbench.errors import UserError
from eagbench.stage import StageRun
from eagbench.stages.split import PARTS, patient_set_hash, read_assignment, read_parts


def assign(run: StageRun) -> None:
    """Writes `parts.parquet` and `parts.json` as the benchmark's split does, with one fold.

    Params: `scheme`, `folds`, `fold`, `seed`. Inputs: `cohort`, whose cases are divided; `split` and `split_cohort`,
    the split whose patients may be used and the cohort it divides. They decide which patient is in which part, so that
    trials with other observation windows are scored on the same patients.

    Raises:
        UserError: A part would hold one class only.
    """
    cases = pq.read_table(run.inputs["cohort"] / "cases.parquet", columns=["case_id", "patient_id"]).to_pylist()
    labels = read_labels(run.inputs["cohort"])
    parts: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for part, patients in divide(run.inputs["split"], run.inputs["split_cohort"], run.params).items():
        mine = [case for case in cases if case["patient_id"] in patients]
        n_positive = sum(labels[case["case_id"]] for case in mine)
        if n_positive in (0, len(mine)):
            raise UserError(
                f"the {part.replace('_', '-')} part of a trial would hold {len(mine)} cases, {n_positive} of them "
                "positive: one class only",
                where="split",
                mend="take more patients (--limit), fewer `tuning_folds`, or another `split.seed`",
            )
        rows.extend({"fold": 0, "part": part, **case} for case in mine)
        parts.append(
            {
                "fold": 0,
                "part": part,
                "n_cases": len(mine),
                "n_patients": len({case["patient_id"] for case in mine}),
                "n_positive": int(n_positive),
                "patients_sha256": patient_set_hash(case["patient_id"] for case in mine),
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), run.out / "parts.parquet")
    (run.out / "parts.json").write_text(json.dumps(parts, indent=1))


def divide(split: Path, split_cohort: Path, params: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The patients of each part of one fold.

    Args:
        split: Folder of the split whose training and tuning patients are divided.
        split_cohort: Folder of its cohort.
        params: `scheme`: `tuning_part` scores the tuning patients, `cross_validation` fold `fold` of `folds` of both.
            As many of the others go to early stopping as the split itself gave, in proportion. `seed` draws both.

    Raises:
        UserError: There are too few patients of a class.
    """
    from sklearn.model_selection import StratifiedKFold, train_test_split

    part_of = {row["patient_id"]: row["part"] for row in read_assignment(split).to_pylist()}
    patient_of = {row["case_id"]: row["patient_id"] for row in read_assignment(split).to_pylist()}
    positive = {patient_of[case] for case, label in read_labels(split_cohort).items() if label and case in patient_of}
    counts = {part["part"]: part["n_patients"] for part in read_parts(split)}
    share = counts["tuning"] / (counts["train"] + counts["tuning"])
    pool = np.array(sorted(p for p, part in part_of.items() if part != "held_out"))
    strata = np.array([p in positive for p in pool], dtype=int)
    try:
        if params["scheme"] == "tuning_part":
            is_scored = np.array([part_of[p] == "tuning" for p in pool])
            rest, scored = np.flatnonzero(~is_scored), np.flatnonzero(is_scored)
        else:
            splitter = StratifiedKFold(params["folds"], shuffle=True, random_state=params["seed"])
            rest, scored = list(splitter.split(pool, strata))[params["fold"]]
        train, tuning = train_test_split(
            rest, test_size=round(share * len(rest)), stratify=strata[rest], random_state=params["seed"]
        )
    except ValueError as error:  # scikit-learn says what is too few, in its own words
        raise UserError(
            f"{len(pool)} patients, {int(strata.sum())} of them with the outcome, can't be divided: {error}",
            where="split",
            mend="take more patients (--limit), or fewer `tuning_folds`",
        ) from error
    indices = dict(zip(PARTS, (train, tuning, scored), strict=True))
    return {part: frozenset(str(p) for p in pool[index]) for part, index in indices.items()}
