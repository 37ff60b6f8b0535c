"""Stage `split` of a sweep's trials. It divides only the training and tuning patients of another split.

The part `held_out` of a trial consists of training or tuning patients of the benchmark. The benchmark's held-out
patients are in no part, so no computation of a trial ever uses them, whatever the trial asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.contracts.records import IntArray
from eagbench.contracts.stages import StageRun
from eagbench.stages.cohort_files import read_labels, read_patients
from eagbench.stages.split import PARTS, enough_to_divide, read_assignment, read_parts, write_parts


def assign(run: StageRun) -> None:
    """Write `parts.parquet` and `parts.json` as the benchmark's split does, with one fold.

    Params: `scheme`, `folds`, `fold`, `seed`, and `training_share` if it is below 1. Inputs: `cohort`, whose cases are
    divided; `split`, whose patients may be used; and `split_cohort`, the cohort of that split. The last two decide
    which patient is in which part, so trials with different observation windows are scored on the same patients.

    Raises:
        UserError: A part would have only one class.
    """
    share = _share(run.params)
    is_part = share < 1
    outer_cohort, assigned = run.inputs["split_cohort"], read_assignment(run.inputs["split"])["case_id"].to_pylist()
    # A given split may leave out cases of patients who are in a part.
    left_out = read_patients(outer_cohort).keys() - set(assigned)
    cases = [(case, patient) for case, patient in read_patients(run.inputs["cohort"]).items() if case not in left_out]
    write_parts(
        run.out,
        cases,
        read_labels(run.inputs["cohort"]),
        [divide(run.inputs["split"], run.inputs["split_cohort"], run.params)],
        lambda _: " of a trial" + (f" at the `training_share` {share:g}" if is_part else ""),
        ("begin with a larger `training_share`, " if is_part else "")
        + "take more patients (--limit), fewer `tuning_folds`, or another `split.seed`",
    )


def divide(split: Path, split_cohort: Path, params: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Assign patients to the parts of one fold.

    Args:
        split: Folder of the split whose training and tuning patients are divided.
        split_cohort: Folder of its cohort.
        params: `scheme`: `tuning_part` scores the tuning patients; `cross_validation` scores fold `fold` of `folds` of
            both. Of the other patients, early stopping gets the same share as in the split itself. `seed` draws both.
            `training_share` (default 1) is the share of the training patients to use, the same for either outcome. The
            patients of a smaller share are a subset of those of a larger one.

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
    pooled = f"{len(pool)} patients, {int(strata.sum())} of them with the outcome"
    with enough_to_divide(
        f"{pooled}, can't be divided", "split", "take more patients (--limit), or fewer `tuning_folds`"
    ):
        if params["scheme"] == "tuning_part":
            is_scored = np.array([part_of[p] == "tuning" for p in pool])
            rest, scored = np.flatnonzero(~is_scored), np.flatnonzero(is_scored)
        else:
            splitter = StratifiedKFold(params["folds"], shuffle=True, random_state=params["seed"])
            rest, scored = list(splitter.split(pool, strata))[params["fold"]]
        train, tuning = train_test_split(
            rest, test_size=round(share * len(rest)), stratify=strata[rest], random_state=params["seed"]
        )
    train = _taken(train, strata, _share(params), params["seed"])
    indices = dict(zip(PARTS, (train, tuning, scored), strict=True))
    return {part: frozenset(str(p) for p in pool[index]) for part, index in indices.items()}


def _share(params: Mapping[str, Any]) -> float:
    return float(params.get("training_share", 1.0))


def _taken(train: IntArray, strata: IntArray, share: float, seed: int) -> IntArray:
    """Take a share of the training patients of each outcome.

    Only the seed decides their order, so a smaller share is a subset of a larger one.
    """
    order = np.random.default_rng([seed, 2]).permutation(np.sort(train))
    classes = [order[strata[order] == outcome] for outcome in (0, 1)]
    return np.concatenate([patients[: round(share * len(patients))] for patients in classes])
