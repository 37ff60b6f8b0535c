"""Stages `source` and `cohort`: from a data set's files to cases and labels."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from eagbench.contracts.records import Cohort
from eagbench.contracts.renamed import warn_renamed
from eagbench.contracts.rules import check_cohort
from eagbench.contracts.stages import StageRun
from eagbench.contracts.traits import DatasetTraits, traits_of
from eagbench.errors import UserError
from eagbench.stages.cohort_files import write_cohort


def generate(run: StageRun) -> None:
    """Let a data set without files generate them."""
    run.component.generate(run)


def read_cohort(dataset: Any, run: StageRun) -> Cohort:
    """Read a data set's cohort from its files or from `run.inputs["source"]`.

    Until 0.2, a `load` with an extra argument for the generated folder still works.
    """
    if len(inspect.signature(dataset.load).parameters) == 1:
        found: Cohort = dataset.load(run)
        return found
    warn_renamed(
        f"{type(dataset).__name__}.load(source, run)", 'load(run), which finds the source in run.inputs["source"]'
    )
    found = dataset.load(run.inputs.get("source"), run)
    return found


def check_static(cohort: Cohort, dataset: Any) -> None:
    """Refuse a static fact that is unknown for every case, unless the data set declares that its source lacks it.

    Raises:
        UserError: There is such a fact.
    """
    declared = traits_of(dataset, DatasetTraits).unknown
    for name in cohort.cases.static_names:
        if name not in declared and all(np.isnan(case.static.get(name, np.nan)) for case in cohort.cases):
            raise UserError(
                f"{name} is unknown for all {len(cohort.cases)} cases",
                where=f"data set {cohort.provenance.source}",
                hint="say where the source writes it, or that it does not hold it (`meds`: `unknown`; a data set of "
                "your own: its trait of that name)",
            )


def load(run: StageRun) -> None:
    """Load the cohort and store it.

    Raises:
        UserError: The cohort is empty, or a case id occurs twice in the source.
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
    check_static(cohort, run.component)
    write_cohort(cohort, run.out)
