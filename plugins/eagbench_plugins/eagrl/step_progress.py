"""Advance the run's progress bar from a transformers trainer. Imported late, because it imports transformers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, override

from eagbench.api import StageRun, quiet_transformers, report_loss

quiet_transformers()

from transformers import TrainerCallback  # noqa: E402 - after transformers was quietened


class StepProgress(TrainerCallback):  # type: ignore[misc]
    """Advances the run's progress by one for every remaining optimisation step, and passes on the loss.

    Args:
        run: The run that owns the bar.
        label: Text shown next to the bar.
    """

    def __init__(self, run: StageRun, label: str) -> None:
        self._run = run
        self._label = label
        self._steps: Iterator[int] = iter(())

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        left = range(state.global_step, state.max_steps)
        self._steps = iter(self._run.progress(left, self._label, len(left)))
        next(self._steps, None)

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        next(self._steps, None)

    @override
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            report_loss(float(logs["loss"]))
