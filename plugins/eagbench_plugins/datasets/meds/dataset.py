"""The data set component `meds`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from eagbench.api import Access, CohortStream, DatasetTraits, StageRun
from eagbench_plugins.datasets.meds.params import MedsParams


class Meds:
    """Any source in MEDS form (Medical Event Data Standard, Parquet), with labels in MEDS' label schema."""

    name: ClassVar[str] = "meds"
    Params: ClassVar[type[MedsParams]] = MedsParams

    def __init__(self, params: MedsParams) -> None:
        self.params = params

    def access(self) -> Access:
        """Return what the benchmark says, `credentialed` by default."""
        return self.params.access

    @property
    def traits(self) -> DatasetTraits:
        """Hospitals as the benchmark names them, else unknown; static facts that the source does not hold."""
        return DatasetTraits(hospitals=self.params.hospitals, unknown=self.params.unknown)

    def files(self) -> Sequence[Path]:
        """List the shards of data/, what there is of metadata/, the labels, and the files of codes and patients.

        Raises:
            UserError: A file or folder is missing.
        """
        from eagbench_plugins.datasets.meds.source_files import source_files

        files = source_files(self.params.root, self.params.labels, self.params.codes, self.params.patients)
        return files.all()

    def load(self, run: StageRun) -> CohortStream:
        """Read the cohort: one case per label with a measurement in its window.

        Raises:
            UserError: Something is wrong with the files, with the codes or with the units of their values.
        """
        from eagbench_plugins.datasets.meds.loader import load_cohort

        return load_cohort(self.params, run)
