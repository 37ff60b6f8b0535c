"""The tracker `mlflow`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from eagbench.api import StrictParams, TrackerTraits, UserError
from eagbench_plugins.trackers.package import require

_BATCH = 500  # MLflow takes at most 1000 metrics in one call


class MLflow:
    """Writes to an MLflow tracking store: a server, or a database file in the run folder.

    A resumed run continues in the same MLflow run. The environment's MLFLOW_TRACKING_URI is not read, so the benchmark
    alone decides where its numbers go.
    """

    name: ClassVar[str] = "mlflow"

    class Params(StrictParams):
        """Where the run is stored.

        Attributes:
            tracking_uri: Address of the store; None for `trackers/mlflow/mlflow.db` in the run folder.
            experiment: Name of the MLflow experiment.
        """

        tracking_uri: str | None = None
        experiment: str = "eagbench"

    def __init__(self, params: Params) -> None:
        self.params = params

    @property
    def traits(self) -> TrackerTraits:
        """Numbers leave the machine unless the store is a local file: even a local server may pass them on."""
        uri = urlsplit(self.params.tracking_uri or "")
        return TrackerTraits(leaves_machine=uri.scheme not in {"", "file", "sqlite"} or uri.netloc != "")

    def start(self, run_name: str, folder: Path) -> None:
        """Open the run, or resume the one that an interrupted attempt began.

        Raises:
            UserError: The package mlflow is not installed, or the store refuses the run.
        """
        require("mlflow", self.name, "mlflow")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when the package is imported
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        uri = self.params.tracking_uri or f"sqlite:///{folder}/mlflow.db"
        noted = folder / "run_id"
        try:
            self._client: Any = MlflowClient(uri)
            if not noted.is_file():
                experiment = self._client.get_experiment_by_name(self.params.experiment)
                experiment_id = experiment and experiment.experiment_id
                experiment_id = experiment_id or self._client.create_experiment(self.params.experiment)
                noted.write_text(self._client.create_run(experiment_id, run_name=run_name).info.run_id)
            self._run_id = noted.read_text()
            self._client.update_run(self._run_id, status="RUNNING")
        except MlflowException as error:
            raise UserError(f"MLflow refuses: {error}", where=f"trackers, tracking_uri {uri}") from error

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Log one metric per number, named `stage/name`. Characters that MLflow does not allow become `_`."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [
            Metric(re.sub(r"[^\w./ -]", "_", f"{stage}/{name}"), value, now, step) for name, value in values.items()
        ]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(self._run_id, metrics[start : start + _BATCH])

    def finish(self) -> None:
        """Close the run."""
        self._client.set_terminated(self._run_id)
