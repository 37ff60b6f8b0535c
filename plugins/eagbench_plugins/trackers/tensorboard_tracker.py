"""The tracker `tensorboard`: event files in the run folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from eagbench.api import StrictParams, TrackerTraits
from eagbench_plugins.trackers.package import require


class TensorBoard:
    """Writes event files; `tensorboard --logdir RUN/trackers/tensorboard` shows them, even during the run.

    Each stage is a TensorBoard run, so one chart shows the same curve for several methods and seeds.
    """

    name: ClassVar[str] = "tensorboard"
    traits = TrackerTraits(leaves_machine=False)

    class Params(StrictParams):
        """Where the event files go.

        Attributes:
            folder: The log folder; None for `trackers/tensorboard` in the run folder.
        """

        folder: Path | None = None

    def __init__(self, params: Params) -> None:
        self.params = params
        self._writers: dict[str, Any] = {}

    def start(self, run_name: str, folder: Path) -> None:
        """Choose the log folder.

        Raises:
            UserError: The package tensorboard is not installed.
        """
        require("tensorboard", self.name, "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer_of: Any = SummaryWriter
        self._folder = folder if self.params.folder is None else self.params.folder / run_name

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Log one scalar per number."""
        if stage not in self._writers:
            parts = (re.sub(r"[^\w+.-]+", "_", part) for part in stage.split("/", 1))
            self._writers[stage] = self._writer_of(str(self._folder.joinpath(*parts)))
        writer = self._writers[stage]
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()  # a kill must not take what counts as told

    def finish(self) -> None:
        """Write what is still buffered."""
        for writer in self._writers.values():
            writer.close()
