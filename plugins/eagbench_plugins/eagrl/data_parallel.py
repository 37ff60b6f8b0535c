"""Train on several devices: the same training in a process per device, as one group that averages gradients.

The trainers run on accelerate, which finds the group and wraps the model in PyTorch's DistributedDataParallel. Every
process holds the whole model and goes through its part of each batch; the first one writes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eagbench.api import DeviceProcesses, StageNode, StageRun, UserError
from eagbench_plugins.eagrl.checkpoints import last_complete_checkpoint

_BEGIN, _STEP, _DONE = "begin", "step", "done"


def devices_of(policy: StageNode) -> int:
    """Read from the stage that prepares a policy on how many devices it is."""
    return 1 if policy.component is None else int(policy.component.params.get("devices", 1))


def refuse_uneven(policy: StageNode, where: str, **sizes: int) -> None:
    """Refuse sizes that do not divide into equal parts, one per device of the policy, before anything is computed.

    Args:
        policy: The stage that prepares the base policy.
        where: Where the sizes are, for the error message.
        sizes: What has to be divided, by its name.

    Raises:
        UserError: One of them does not divide.
    """
    devices = devices_of(policy)
    for name, size in sizes.items():
        if size % devices:
            raise UserError(
                f"{size} {name.replace('_', ' ')} do not divide into equal parts for {devices} devices",
                where=where,
                hint=f"take a multiple of {devices}, or fewer devices (policy, devices)",
            )


def train_on_devices(
    train: Callable[..., None], arguments: Sequence[object], run: StageRun, policy: Path, devices: int
) -> None:
    """Run a training in a process per device, and pass on its progress and costs.

    Args:
        train: A module-level function, called as `train(*arguments, run)` in each process. It finds the group through
            accelerate; only the first process may write into `run.out`.
        arguments: Its other arguments; they are pickled.
        run: The stage's run. The processes get it with the policy as its only input.
        policy: Folder of the initial policy.
        devices: Number of processes.
    """
    last_complete_checkpoint(run.checkpoints)  # removes an incomplete one before all processes look for the last
    plain = StageRun(run.params, {"policy": policy}, run.seed, run.out)
    with tempfile.TemporaryDirectory(prefix="eagbench_group_") as meeting:
        processes = DeviceProcesses(_train_one, devices, (partial(train, *arguments), plain, Path(meeting, "group")))
        try:
            _follow(processes, run, devices)
        finally:
            processes.end()


def n_processes() -> int:
    """Count the processes of the group that this one trains in; 1 if it trains alone."""
    from torch import distributed

    return int(distributed.get_world_size()) if distributed.is_initialized() else 1


def writes() -> bool:
    """Say whether this process writes into the stage's folder: the first one of the group does."""
    from torch import distributed

    return not distributed.is_initialized() or distributed.get_rank() == 0


def _follow(processes: DeviceProcesses, run: StageRun, devices: int) -> None:
    """Show the progress of the training until every process is done."""
    steps: Iterator[object] = iter(())
    left = devices
    while left:
        _, (what, *details) = processes.receive()
        if what == _BEGIN:
            label, total = details
            steps = iter(run.progress(range(total), label, total))
            next(steps, None)
        elif what == _STEP:
            next(steps, None)
        else:
            left -= 1
            for name, amount in details[0].items():
                run.add_cost(name, amount)
    for rank in range(devices):
        processes.send(rank, None)  # nobody leaves the group before all are done


def _train_one(link: Any, rank: int, n: int, train: Callable[[StageRun], None], run: StageRun, meeting: Path) -> None:
    """Train as one process of the group."""
    import torch

    # What accelerate looks at. The processes meet in a file: no port is taken, and none can be taken already.
    os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n)}
    has_gpus = torch.cuda.is_available() and torch.cuda.device_count() >= n
    if has_gpus:
        torch.cuda.set_device(rank)
    backend = "cpu:gloo,cuda:nccl" if has_gpus else "gloo"
    torch.distributed.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=n)

    def progress(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        link.send((_BEGIN, label, total))
        for item in items:
            yield item
            link.send((_STEP,))

    if rank == 0:
        run.progress = progress
    train(run)
    link.send((_DONE, dict(run.costs)))
    link.recv()
    torch.distributed.destroy_process_group()
