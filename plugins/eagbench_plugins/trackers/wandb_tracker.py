"""The tracker `wandb`: Weights & Biases."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from eagbench.api import StrictParams, TrackerTraits
from eagbench_plugins.trackers.package import require


class WeightsAndBiases:
    """Sends numbers to Weights & Biases, or keeps them for `wandb sync` with `mode: offline`.

    A resumed run continues in the same W&B run. Only numbers are sent: no console output, code, git state, or
    information about the machine and its load.
    """

    name: ClassVar[str] = "wandb"

    class Params(StrictParams):
        """Where the run is stored.

        Attributes:
            project: The W&B project.
            entity: The user or team it belongs to; None for the account's default.
            mode: `online`, or `offline`: everything stays in the run folder.
        """

        project: str = "eagbench"
        entity: str | None = None
        mode: Literal["online", "offline"] = "online"

    def __init__(self, params: Params) -> None:
        self.params = params
        self._stages: set[str] = set()
        self._run: Any = None

    @property
    def traits(self) -> TrackerTraits:
        """Numbers leave the machine during the run unless the mode is `offline`."""
        return TrackerTraits(leaves_machine=self.params.mode != "offline")

    def start(self, run_name: str, folder: Path) -> None:
        """Open the run, or resume the one that an interrupted attempt began.

        Raises:
            UserError: The package wandb is not installed.
        """
        require("wandb", self.name, "wandb")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when the package is imported
        import wandb

        noted = folder / "run_id"
        if not noted.is_file():
            noted.write_text(uuid.uuid4().hex[:12])
        self._run = wandb.init(
            project=self.params.project,
            entity=self.params.entity,
            mode=self.params.mode,
            name=run_name,
            id=noted.read_text(),
            resume="allow",
            dir=str(folder),
            settings=wandb.Settings(
                console="off",
                host="-",
                silent=True,
                save_code=False,
                disable_git=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
            ),
        )

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers over the stage's own step, because W&B's step counts calls across all stages."""
        own_step = f"{stage}/step"
        if stage not in self._stages:
            self._run.define_metric(own_step, hidden=True)
            self._run.define_metric(f"{stage}/*", step_metric=own_step)
            self._stages.add(stage)
        self._run.log({own_step: step, **{f"{stage}/{name}": value for name, value in values.items()}})

    def finish(self) -> None:
        """Wait until everything is written."""
        self._run.finish()
