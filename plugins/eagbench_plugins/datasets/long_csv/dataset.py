"""The data set component `long_csv`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from eagbench.api import Access, CohortStream, DatasetTraits, StageRun, files_under
from eagbench_plugins.datasets.long_csv.params import LongCsvParams

_HINT = "data.root is the folder that holds data.events (a row per measurement) and data.outcomes (a row per stay)."


class LongCsv:
    """One's own records as CSV: a row per measurement (stay, time, variable, value, unit), and a file of outcomes."""

    name: ClassVar[str] = "long_csv"
    Params: ClassVar[type[LongCsvParams]] = LongCsvParams

    def __init__(self, params: LongCsvParams) -> None:
        self.params = params

    def access(self) -> Access:
        """Return what the benchmark says, `credentialed` by default."""
        return self.params.access

    @property
    def traits(self) -> DatasetTraits:
        """Groups and hospitals as the benchmark names them."""
        return DatasetTraits(groups=self.params.groups, hospitals=self.params.hospitals)

    def files(self) -> Sequence[Path]:
        """List the outcomes, then the files of events.

        Raises:
            UserError: The root or a file is missing.
        """
        return files_under(self.params.root, [self.params.outcomes, *self.params.events], _HINT)

    def load(self, run: StageRun) -> CohortStream:
        """Read the cohort: one case per stay of the outcomes with a measurement in the window.

        Raises:
            UserError: Something is wrong with the files, with the variables or with the units of their values.
        """
        from eagbench_plugins.datasets.long_csv.loader import load_cohort

        outcomes, *events = self.files()
        return load_cohort(self.params, outcomes, events, run)
