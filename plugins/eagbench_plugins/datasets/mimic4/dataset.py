"""The data set component `mimic4`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from eagbench.api import Access, CohortStream, DatasetTraits, DataSource, StageRun
from eagbench_plugins.datasets.mimic4.params import SYNTHETIC, Mimic4Params
from eagbench_plugins.datasets.mimic4.published import DEMO


class Mimic4:
    """MIMIC-IV v3.1 (or its open demo): laboratory results and charted vital signs of ICU stays.

    With `root: synthetic` a generator writes a hospital in the same form, which is then read in the same way.
    """

    name: ClassVar[str] = "mimic4"
    Params: ClassVar[type[Mimic4Params]] = Mimic4Params
    sources: ClassVar[tuple[DataSource, ...]] = (DEMO,)

    def __init__(self, params: Mimic4Params) -> None:
        self.params = params

    def access(self) -> Access:
        """Return `credentialed`, `synthetic` if the generator makes the records, or `open` if the benchmark says so.

        `load` checks that this can be.
        """
        return "synthetic" if self.params.root == SYNTHETIC else self.params.access

    @property
    def traits(self) -> DatasetTraits:
        """MIMIC's one hospital, or the generated one: the same seed makes the same patients."""
        if self.params.root == SYNTHETIC:
            return DatasetTraits(hospitals=(f"generated hospital, seed {self.params.synthetic_seed}",))
        return DatasetTraits(hospitals=("Beth Israel Deaconess Medical Center",))

    def files(self) -> Sequence[Path]:
        """List the five files to read; none if the generator writes them.

        Raises:
            UserError: The root or a file is missing, can't be read, or lacks a column.
        """
        if self.params.root == SYNTHETIC:
            return ()
        from eagbench_plugins.datasets.mimic4.source_files import source_files

        return source_files(self._root())

    def generate(self, run: StageRun) -> None:
        """Write the synthetic hospital into `run.out`."""
        from eagbench_plugins.datasets.mimic4.synthetic import write_hospital

        params = self.params
        write_hospital(run.out, params.synthetic_patients, params.synthetic_seed, params.synthetic_density)

    def load(self, run: StageRun) -> CohortStream:
        """Begin to read the cohort; its blocks raise `UserError` if the files or the units in them are wrong."""
        from eagbench_plugins.datasets.mimic4.loader import load_cohort

        return load_cohort(run.inputs.get("source", self._root()), self.params, self.access(), run)

    def _root(self) -> Path:
        return Path(self.params.root).expanduser()
