"""The data set component `eicu`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from eagbench.api import Access, CohortStream, DatasetTraits, DataSource, StageRun
from eagbench_plugins.datasets.eicu.params import EicuParams
from eagbench_plugins.datasets.eicu.published import DEMO
from eagbench_plugins.datasets.eicu.tables import EVENTS, PATIENT, source_files


class Eicu:
    """eICU-CRD v2.0 (or its open demo): laboratory results and vital signs of ICU stays."""

    name: ClassVar[str] = "eicu"
    Params: ClassVar[type[EicuParams]] = EicuParams
    traits = DatasetTraits(hospitals=("hospitals of the eICU programme",))
    sources: ClassVar[tuple[DataSource, ...]] = (DEMO,)

    def __init__(self, params: EicuParams) -> None:
        self.params = params

    def access(self) -> Access:
        """Return `credentialed`, or `open` if the benchmark declares the open demo; `load` checks that this can be."""
        return self.params.access

    def files(self) -> Sequence[Path]:
        """List the files of `patient` and of the requested tables.

        Raises:
            UserError: The root or a file is missing, can't be read, or lacks a column.
        """
        return source_files(self.params.root, [PATIENT, *(EVENTS[name] for name in self.params.tables)])

    def load(self, run: StageRun) -> CohortStream:
        """Begin to read the cohort; its blocks raise `UserError` if the files or the units in them are wrong."""
        from eagbench_plugins.datasets.eicu.loader import load_cohort

        return load_cohort(self.params, run)
