"""Divide a generated batch among processes so that every step sees what it sees in one. Imported late: imports torch.

TRL gives each process the next part of the cases; their trajectories would stay there, and be shuffled there. Here the
processes put the batch together after it was sampled and scored, order it as one process does, and each takes its
share of every mini-batch. What is drawn at random is drawn once, by the first process.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def shared_draws(accelerator: Any, n: int, most: int) -> Tensor:
    """Draw the uniform numbers of this process's trajectories.

    Args:
        accelerator: Knows the other processes.
        n: Trajectories of this process; all have as many.
        most: Numbers per trajectory.

    Returns:
        (n, most), float64, on the CPU.
    """
    draws = torch.rand(n * accelerator.num_processes, most, dtype=torch.float64)
    return shared(accelerator, draws)[accelerator.process_index * n :][:n]


def shared(accelerator: Any, values: Tensor) -> Tensor:
    """Return the first process's values, on the CPU."""
    if accelerator.num_processes == 1:
        return values
    sent = values.to(accelerator.device)
    torch.distributed.broadcast(sent, src=0)
    return sent.cpu()


def whole_batch(accelerator: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Put the parts of all processes together.

    Args:
        accelerator: Knows the other processes.
        batch: This process's rows: tensors whose first axis is the row, lists of rows, numbers that are the same in all
            processes, and None. Prompts (`prompt_...`) are padded on the left, all else on the right.

    Returns:
        The rows of all processes, in the order of the processes, on the CPU.
    """
    if accelerator.num_processes == 1:
        return batch
    here = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in batch.items()}
    parts: list[Any] = [None] * accelerator.num_processes
    torch.distributed.all_gather_object(parts, here)
    return {name: _joined(name, [part[name] for part in parts]) for name in batch}


def _joined(name: str, parts: list[Any]) -> Any:
    first = parts[0]
    if first is None or (isinstance(first, Tensor) and first.ndim == 0):
        return first
    if not isinstance(first, Tensor):
        return [row for part in parts for row in part]
    if first.ndim < 2:
        return torch.cat(parts)
    width = max(part.size(1) for part in parts)
    on_left = name.startswith("prompt")
    missing = [width - part.size(1) for part in parts]
    sides = [(n, 0) if on_left else (0, n) for n in missing]
    return torch.cat([torch.nn.functional.pad(part, side) for part, side in zip(parts, sides, strict=True)])


def own_rows(accelerator: Any, order: Tensor, parts: int) -> Tensor:
    """Choose this process's rows of an ordered batch: its share of each part that goes through the model at once.

    Args:
        accelerator: Knows the other processes.
        order: The rows of the whole batch, (N,).
        parts: How many parts they go through the model in.
    """
    shares = order.view(parts, accelerator.num_processes, -1)
    return shares[:, accelerator.process_index].reshape(-1)
