"""Registers the built-in trackers. Their packages are imported when a run starts."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.trackers.mlflow_tracker import MLflow
from eagbench_plugins.trackers.tensorboard_tracker import TensorBoard
from eagbench_plugins.trackers.wandb_tracker import WeightsAndBiases


@hookimpl
def register_trackers(register: Register) -> None:
    """Register `tensorboard`, `wandb` and `mlflow`."""
    register(TensorBoard)
    register(WeightsAndBiases)
    register(MLflow)
