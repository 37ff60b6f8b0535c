"""Stages `source` and `cohort`: from a data set's files to cases and labels."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from eagbench.contracts.cohort_stream import CaseBlock, CohortStream
from eagbench.contracts.records import Case, Cohort, Provenance
from eagbench.contracts.renamed import warn_renamed
from eagbench.contracts.rules import ContractError, check_block
from eagbench.contracts.stages import StageRun
from eagbench.contracts.traits import DatasetTraits, traits_of
from eagbench.errors import UserError
from eagbench.stages.cohort_writer import CohortWriter


def generate(run: StageRun) -> None:
    """Let a data set without files generate them."""
    run.component.generate(run)


def read_cohort(dataset: Any, run: StageRun) -> Cohort:
    """Read a data set's cohort into memory, from its files or from `run.inputs["source"]`."""
    found = _loaded(dataset, run)
    return found.collect() if isinstance(found, CohortStream) else found


def open_cohort(dataset: Any, run: StageRun) -> CohortStream:
    """Begin to read a data set's cohort, from its files or from `run.inputs["source"]`.

    Raises:
        ContractError: The data set returns something else.
    """
    found = _loaded(dataset, run)
    if isinstance(found, CohortStream):
        return found
    if not isinstance(found, Cohort):
        raise ContractError("load", "result", f"a Cohort or a CohortStream, not {type(found).__name__}")
    return CohortStream.of(found)


def _loaded(dataset: Any, run: StageRun) -> Any:
    """Call `load`. Until 0.2, one with an extra argument for the generated folder still works."""
    if len(inspect.signature(dataset.load).parameters) == 1:
        return dataset.load(run)
    warn_renamed(
        f"{type(dataset).__name__}.load(source, run)", 'load(run), which finds the source in run.inputs["source"]'
    )
    return dataset.load(run.inputs.get("source"), run)


class CohortCheck:
    """Checks the blocks of a cohort one by one, and in the end what only all of them show.

    Args:
        stream: The cohort; only its description is read.
        dataset: The data set, which declares the static facts that its source lacks.
    """

    def __init__(self, stream: CohortStream, dataset: Any) -> None:
        self._features = frozenset(feature.name for feature in stream.features)
        self._window_hours = stream.task.window_hours
        declared = traits_of(dataset, DatasetTraits).unknown
        self._unknown = [name for name in stream.static_names if name not in declared]
        self._ids: set[str] = set()
        self._cases = 0

    def see(self, block: CaseBlock) -> None:
        """Check a block.

        Raises:
            ContractError: It breaks the contract of `load`.
        """
        check_block(block, self._features, self._window_hours)
        self._cases += len(block.items)
        self._ids.update(case.case_id for case in block.items)
        self._unknown = _unknown_in(self._unknown, block.items)

    def finish(self, provenance: Provenance) -> None:
        """Refuse an empty cohort, a case id that occurs twice, and a static fact that is unknown for every case.

        A data set may declare that its source lacks the fact.

        Raises:
            UserError: There is such a thing.
        """
        where = f"data set {provenance.source}"
        if not self._cases:
            left_out = ", ".join(f"{n} {reason}" for reason, n in provenance.exclusions) or "none"
            raise UserError(
                f"the cohort is empty: {provenance.n_patients_read} patients read, cases left out: {left_out}",
                where=where,
                hint="check `data.root`, `data.task` and `data.window_hours`",
            )
        if len(self._ids) != self._cases:
            raise UserError("case ids occur more than once", where=where)
        if self._unknown:
            raise UserError(
                f"{self._unknown[0]} is unknown for all {self._cases} cases",
                where=where,
                hint="say where the source writes it, or that it does not hold it (`meds`: `unknown`; "
                "`long_csv`: leave it out of `static`; a data set of your own: its trait of that name)",
            )


def _unknown_in(names: Sequence[str], cases: Sequence[Case]) -> list[str]:
    """Return the static facts that no case knows."""
    return [name for name in names if all(np.isnan(case.static.get(name, np.nan)) for case in cases)]


def load(run: StageRun) -> None:
    """Load the cohort and store it block by block.

    Raises:
        UserError: The cohort is empty, or a case id occurs twice in the source.
    """
    stream = open_cohort(run.component, run)
    check = CohortCheck(stream, run.component)
    with CohortWriter(stream, run.out) as writer:

        def take(block: CaseBlock) -> None:
            check.see(block)
            writer.add(block)

        provenance = stream.read(take)
        check.finish(provenance)
        writer.finish(provenance)
