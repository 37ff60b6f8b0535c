"""Stage `split` of a sweep's trials: it divides the training and tuning patients of another split, and no others.

What is called `held_out` here are training or tuning patients of the benchmark. Its held-out patients are in no part,
so nothing that a trial computes has seen one of them, whatever the trial asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.contracts.records import IntArray
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.stages.cohort_files import read_labels, read_patients
from eagbench.stages.split import PARTS, read_assignment, read_parts, write_parts


def assign(run: StageRun) -> None:
    """Writes `parts.parquet` and `parts.json` as the benchmark's split does, with one fold.

    Params: `scheme`, `folds`, `fold`, `seed`, and `training_share` if it is below 1. Inputs: `cohort`, whose cases are
    divided; `split` and `split_cohort`, the split whose patients may be used and the cohort it divides. They decide
    which patient is in which part, so that trials with other observation windows are scored on the same patients.

    Raises:
        UserError: A part would hold one class only.
    """
    share = _share(run.params)
    is_part = share < 1
    write_parts(
        run.out,
        list(read_patients(run.inputs["cohort"]).items()),
        read_labels(run.inputs["cohort"]),
        [divide(run.inputs["split"], run.inputs["split_cohort"], run.params)],
        lambda _: " of a trial" + (f" at the `training_share` {share:g}" if is_part else ""),
        ("begin with a larger `training_share`, " if is_part else "")
        + "take more patients (--limit), fewer `tuning_folds`, or another `split.seed`",
    )


def divide(split: Path, split_cohort: Path, params: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The patients of each part of one fold.

    Args:
        split: Folder of the split whose training and tuning patients are divided.
        split_cohort: Folder of its cohort.
        params: `scheme`: `tuning_part` scores the tuning patients, `cross_validation` fold `fold` of `folds` of both.
            As many of the others go to early stopping as the split itself gave, in proportion. `seed` draws both.
            `training_share` (1 if it is not there) is the share of the training patients that is taken, of either
            outcome alike; those of a smaller share are among those of a larger one.

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
            hint="take more patients (--limit), or fewer `tuning_folds`",
        ) from error
    train = _taken(train, strata, _share(params), params["seed"])
    indices = dict(zip(PARTS, (train, tuning, scored), strict=True))
    return {part: frozenset(str(p) for p in pool[index]) for part, index in indices.items()}


def _share(params: Mapping[str, Any]) -> float:
    return float(params.get("training_share", 1.0))


def _taken(train: IntArray, strata: IntArray, share: float, seed: int) -> IntArray:
    """The first of each outcome in an order that the seed alone decides, so that one share lies within the next."""
    order = np.random.default_rng([seed, 2]).permutation(np.sort(train))
    classes = [order[strata[order] == outcome] for outcome in (0, 1)]
    return np.concatenate([patients[: round(share * len(patients))] for patients in classes])
