"""The run's progress bar, advanced by a transformers trainer. Imported late: it needs transformers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, override

from eagbench.api import StageRun, quiet_transformers

quiet_transformers()

from transformers import TrainerCallback  # noqa: E402 - after transformers was quietened


class StepProgress(TrainerCallback):  # type: ignore[misc]
    """Advances the bar by one for every optimisation step that is left.

    Args:
        run: Whose bar it is.
        label: What stands beside it.
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
