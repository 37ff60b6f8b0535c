"""Stages `source` and `cohort`: from a data set's files to cases and labels."""

from __future__ import annotations

from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.stages.cohort_files import write_cohort


def generate(run: StageRun) -> None:
    """Lets a data set without files write them."""
    run.component.generate(run)


def load(run: StageRun) -> None:
    """Loads the cohort and stores it.

    Raises:
        UserError: No case is left, or a case id occurs twice in the source.
    """
    cohort = run.component.load(run.inputs.get("source"), run)
    cases, provenance = cohort.cases, cohort.provenance
    if not len(cases):
        left_out = ", ".join(f"{n} {reason}" for reason, n in provenance.exclusions) or "none"
        raise UserError(
            f"the cohort is empty: {provenance.n_patients_read} patients read, cases left out: {left_out}",
            where=f"data set {provenance.source}",
            mend="check `data.root`, `data.task` and `data.window_hours`",
        )
    if len(set(cases.case_ids)) != len(cases):
        raise UserError("case ids occur more than once", where=f"data set {provenance.source}")
    write_cohort(cohort, run.out)
