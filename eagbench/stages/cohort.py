"""Stages `source` and `cohort`: from a data set's files to cases and labels."""

from __future__ import annotations

import inspect
from typing import Any

from eagbench.contracts.records import Cohort
from eagbench.contracts.renamed import warn_renamed
from eagbench.contracts.rules import check_cohort
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.stages.cohort_files import write_cohort


def generate(run: StageRun) -> None:
    """Lets a data set without files write them."""
    run.component.generate(run)


def read_cohort(dataset: Any, run: StageRun) -> Cohort:
    """Lets a data set read its cohort, from its files or from `run.inputs["source"]`.

    Until 0.2 a `load` that takes the generated folder as an argument of its own is called as it wants to be.
    """
    if len(inspect.signature(dataset.load).parameters) == 1:
        found: Cohort = dataset.load(run)
        return found
    warn_renamed(
        f"{type(dataset).__name__}.load(source, run)", 'load(run), which finds the source in run.inputs["source"]'
    )
    found = dataset.load(run.inputs.get("source"), run)
    return found


def load(run: StageRun) -> None:
    """Loads the cohort and stores it.

    Raises:
        UserError: No case is left, or a case id occurs twice in the source.
    """
    cohort = read_cohort(run.component, run)
    cases, provenance = cohort.cases, cohort.provenance
    if not len(cases):
        left_out = ", ".join(f"{n} {reason}" for reason, n in provenance.exclusions) or "none"
        raise UserError(
            f"the cohort is empty: {provenance.n_patients_read} patients read, cases left out: {left_out}",
            where=f"data set {provenance.source}",
            hint="check `data.root`, `data.task` and `data.window_hours`",
        )
    if len(set(cases.case_ids)) != len(cases):
        raise UserError("case ids occur more than once", where=f"data set {provenance.source}")
    check_cohort(cohort)
    write_cohort(cohort, run.out)
