"""A model with a whole copy on each of several devices, a process each, which divide the texts between them.

Texts with the same prompt go to one copy, in their order, and stay there from call to call: a text then draws what it
draws on one device, and a copy reads no beginning that another one has read.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from eagbench.api import DeviceProcesses, FloatArray, Generation, LanguageModel, Sampling, UserError
from eagbench_plugins.policies.model_input import ModelInput


def check_devices(devices: int, device: str) -> None:
    """Check that there are so many devices; a CPU is as many as wanted.

    Raises:
        UserError: There are fewer GPUs, or the policy names a single one.
    """
    if ":" in device:
        raise UserError(
            f"the policy names one device, {device}, and wants {devices} of them",
            where="policy, devices",
            hint="write `device: cuda`, and choose the GPUs by CUDA_VISIBLE_DEVICES",
        )
    there = torch.cuda.device_count() if device in ("auto", "cuda") and torch.cuda.is_available() else devices
    if there < devices:
        raise UserError(
            f"this machine has {there} GPUs, and the policy wants {devices} devices",
            where="policy, devices",
            hint=f"write `devices: {there}`",
        )


class _Opens(Protocol):
    def open(self, folder: Path) -> LanguageModel: ...


class ReplicatedModel:
    """A `LanguageModel` that asks the copies in other processes, which start when the first text is needed.

    Args:
        policy: Opens one copy in a process of its own (`is_device_process`); it is pickled.
        folder: The policy folder.
        place: The model folder or GGUF file, for the tokenizer.
        devices: Number of copies.

    Attributes:
        devices: Number of copies.
        tokenizer: The model's tokenizer.
        positions: How many tokens the model reads and writes in all; None if nothing bounds them.
    """

    def __init__(self, policy: _Opens, folder: Path, place: Path, devices: int) -> None:
        self.devices = devices
        self._policy, self._folder = policy, folder
        self._input = ModelInput.load(place)
        self.tokenizer, self.positions = self._input.tokenizer, self._input.positions
        self._processes: DeviceProcesses | None = None
        self._owner: dict[str, int] = {}  # the device that read a prompt

    def as_input(self, prompt: str) -> str:
        """Return the text that the model actually reads: the prompt in its chat template, if it has one."""
        return self._input.as_input(prompt)

    def prompt_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Count the tokens of each prompt in its chat template."""
        return self._input.prompt_tokens(prompts)

    def forget(self) -> None:
        """Forget what was read, on all devices."""
        self._owner.clear()
        if self._processes is not None:
            self._answers(dict.fromkeys(range(self.devices), ("forget", ())))

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """Generate one text per prompt: those that one device writes, up to the last bits of its probabilities."""

        def asked(rows: Sequence[int]) -> tuple[Any, ...]:
            begun = None if written is None else [written[i] for i in rows]
            return [prompts[i] for i in rows], sampling, seed, begun

        results: list[Generation] = self._divided("generate", prompts, asked)
        return results

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> FloatArray:
        """Compute the probability of each candidate as the next text, (len(prompts), len(candidates))."""

        def asked(rows: Sequence[int]) -> tuple[Any, ...]:
            return [prompts[i] for i in rows], [written[i] for i in rows], list(candidates)

        rows = self._divided("continuation_probabilities", prompts, asked)
        return np.array(rows, dtype=np.float64).reshape(len(prompts), len(candidates))

    def attention_to(
        self,
        prompts: Sequence[str],
        written: Sequence[str],
        answers: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]],
        layers: float = 0.5,
    ) -> list[list[float]]:
        """Measure the attention that parts of each prompt get while the model answers; see `AttentionProbe`."""

        def asked(rows: Sequence[int]) -> tuple[Any, ...]:
            return (*([part[i] for i in rows] for part in (prompts, written, answers, spans)), layers)

        found: list[list[float]] = self._divided("attention_to", prompts, asked)
        return found

    def encode(self, prompts: Sequence[str]) -> FloatArray:
        """Compute each prompt's mean hidden state, (len(prompts), D) in float32; see `TextEncoder`."""
        if not prompts:
            (nothing,) = self._answers({0: ("encode", ([],))}).values()
            return np.asarray(nothing)
        return np.stack(self._divided("encode", prompts, lambda rows: ([prompts[i] for i in rows],)))

    def _divided(self, method: str, prompts: Sequence[str], asked: Callable[[Sequence[int]], tuple[Any, ...]]) -> Any:
        """Call a method of the copies, each with its rows, and return the answers in the order of the prompts."""
        rows = self._rows(prompts)
        answers = self._answers({device: (method, asked(mine)) for device, mine in rows.items()})
        results: list[Any] = [None] * len(prompts)
        for device, mine in rows.items():
            for i, answer in zip(mine, answers[device], strict=True):
                results[i] = answer
        return results

    def _rows(self, prompts: Sequence[str]) -> dict[int, list[int]]:
        """Divide the prompts: each to the device that read it before, else to the one with the least to read."""
        load = [0] * self.devices
        rows: dict[int, list[int]] = {}
        for i, prompt in enumerate(prompts):
            if prompt not in self._owner:
                self._owner[prompt] = load.index(min(load))
            device = self._owner[prompt]
            load[device] += len(prompt)
            rows.setdefault(device, []).append(i)
        return rows

    def _answers(self, asked: dict[int, tuple[str, tuple[Any, ...]]]) -> dict[int, Any]:
        """Send each device its question and wait for all answers."""
        if self._processes is None:
            self._processes = DeviceProcesses(_answer, self.devices, (self._policy, self._folder))
            weakref.finalize(self, self._processes.end)
        try:
            for device, question in asked.items():
                self._processes.send(device, question)
            return dict(self._processes.receive() for _ in asked)
        except BaseException:  # what the others still answer belongs to no question any more
            self._processes.end()
            self._processes = None
            raise


def _answer(link: Any, rank: int, n: int, policy: _Opens, folder: Path) -> None:
    """Answer the questions of the process that started this one, with a copy of the model on one device."""
    del n
    if torch.cuda.is_available() and rank < torch.cuda.device_count():
        torch.cuda.set_device(rank)
    model = policy.open(folder)
    while True:
        method, arguments = link.recv()
        link.send(getattr(model, method)(*arguments))
