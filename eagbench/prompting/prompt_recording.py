"""Finds the prompts of any method by letting it predict: the first thing that it asks the policy ends that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar

import numpy as np

from eagbench.contracts.language_models import Generation, Sampling
from eagbench.contracts.records import FloatArray


class _Asked(Exception):
    """The prompts that a method asked the policy."""

    def __init__(self, prompts: Sequence[str]) -> None:
        super().__init__("a method asked the policy")
        self.prompts = tuple(prompts)


class PromptRecorder:
    """Stands in for every policy that a method may open, and raises what it is asked."""

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """Raise the prompts."""
        del sampling, seed, written
        raise _Asked(prompts)

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> FloatArray:
        """Raise the prompts."""
        del written, candidates
        raise _Asked(prompts)

    def encode(self, prompts: Sequence[str]) -> FloatArray:
        """Raise the prompts, if there are any."""
        if prompts:
            raise _Asked(prompts)
        return np.zeros((0, 1), np.float32)


_current: ContextVar[PromptRecorder | None] = ContextVar("prompt_recorder", default=None)


def current_recorder() -> PromptRecorder | None:
    """Return what stands in for the policy here, or None outside of `asked_by`."""
    return _current.get()


def asked_by(predict: Callable[[], object]) -> tuple[str, ...]:
    """Return the prompts that a prediction asks the policy first; empty if it asks nothing.

    No policy is opened, and nothing is written.
    """
    token = _current.set(PromptRecorder())
    try:
        predict()
    except _Asked as asked:
        return asked.prompts
    finally:
        _current.reset(token)
    return ()
