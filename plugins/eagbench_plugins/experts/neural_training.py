"""Train the neural experts: log loss plus the network's own penalty, early stopping on the log loss.

After every epoch the complete training state is saved, so that a resumed fit ends with the same bytes as an
uninterrupted one.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from eagbench.api import FloatArray, StageRun
from eagbench_plugins.experts.neural_network import PREDICTION_BATCH, ExpertNetwork, reproducible_torch
from eagbench_plugins.experts.neural_params import NeuralParams


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTensors:
    """The network inputs of N cases, one row per case, and their `labels` (N,), all float32."""

    inputs: tuple[Tensor, ...]
    labels: Tensor

    @classmethod
    def of(cls, inputs: tuple[FloatArray, ...], labels: FloatArray) -> Self:
        """Convert float32 arrays to tensors."""
        return cls(tuple(torch.from_numpy(part) for part in inputs), torch.from_numpy(labels))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(slots=True)
class _Progress:
    """Training progress: the part of a checkpoint besides weights, optimiser and random states."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    epochs_since_best: int = 0


def train[Network: ExpertNetwork](
    name: str,
    params: NeuralParams,
    build: Callable[[], Network],
    fitting: LabelledTensors,
    stopping: LabelledTensors | None,
    run: StageRun,
) -> tuple[Network, int]:
    """Train a network.

    Args:
        name: The expert's name, for the checkpoint and the progress bar.
        params: The expert's parameters.
        build: Creates the network and draws its initial weights from torch's generator.
        fitting: Cases that the weights are fitted on.
        stopping: Cases whose log loss decides when to stop; None trains for all epochs.
        run: Seed, progress, and the folder for checkpoints.

    Returns:
        The network in eval mode, and the number of the epoch whose weights it has, 1 for the first. This is the epoch
        with the lowest log loss on `stopping`, or the last epoch without `stopping`.
    """
    checkpoint = run.checkpoints / f"{name}.pt"
    with reproducible_torch(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)  # initial weights and dropout
        order = torch.Generator().manual_seed(run.seed)  # order of the cases
        network = build()
        optimizer = torch.optim.AdamW(network.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
        best = copy.deepcopy(network.state_dict())
        progress = _Progress()
        if checkpoint.exists():
            best, progress = _resume(checkpoint, network, optimizer, order)
        positive_weight = _positive_weight(fitting.labels, params.class_weights)

        for _ in run.progress(_remaining(progress, params), f"{name} epochs", params.epochs - progress.epoch):
            network.train()
            for rows in torch.randperm(len(fitting), generator=order).split(params.batch_size):  # (B,)
                log_odds, penalty = network(*(part[rows] for part in fitting.inputs))
                log_loss = binary_cross_entropy_with_logits(log_odds, fitting.labels[rows], pos_weight=positive_weight)
                optimizer.zero_grad()
                (log_loss + penalty).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
            progress.epoch += 1
            loss = None if stopping is None else _log_loss(network, stopping, positive_weight)
            if loss is None or loss < progress.best_loss:
                best = copy.deepcopy(network.state_dict())
                progress.best_epoch = progress.epoch
                progress.best_loss = progress.best_loss if loss is None else loss
                progress.epochs_since_best = 0
            else:
                progress.epochs_since_best += 1
            _save(checkpoint, network, optimizer, order, best, progress)
        network.load_state_dict(best)
    network.eval()
    run.add_cost("epochs", progress.epoch)
    return network, progress.best_epoch


def _remaining(progress: _Progress, params: NeuralParams) -> Iterator[int]:
    """Iterate over the remaining epochs; stop after `patience` epochs without improvement."""
    while progress.epoch < params.epochs and progress.epochs_since_best < params.patience:
        yield progress.epoch


def _positive_weight(labels: Tensor, class_weights: str) -> Tensor | None:
    """Compute the weight of a positive case in the loss; None if the classes are not reweighted."""
    if class_weights == "none":
        return None
    return (len(labels) - labels.sum()) / labels.sum()


def _log_loss(network: ExpertNetwork, cases: LabelledTensors, positive_weight: Tensor | None) -> float:
    """Compute the mean log loss over all cases, in eval mode."""
    network.eval()
    with torch.inference_mode():
        batches = zip(*(part.split(PREDICTION_BATCH) for part in cases.inputs), strict=True)
        log_odds = torch.cat([network(*batch)[0] for batch in batches])
        return float(binary_cross_entropy_with_logits(log_odds, cases.labels, pos_weight=positive_weight))


def _save(
    path: Path,
    network: ExpertNetwork,
    optimizer: torch.optim.Optimizer,
    order: torch.Generator,
    best: dict[str, Tensor],
    progress: _Progress,
) -> None:
    """Write the checkpoint and rename it, so that a kill leaves either the old or the new one complete."""
    state = {
        "network": network.state_dict(),
        "best": best,
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "order": order.get_state(),
        "progress": dataclasses.asdict(progress),
    }
    unfinished = path.with_suffix(".writing")
    torch.save(state, unfinished)
    unfinished.replace(path)


def _resume(
    path: Path, network: ExpertNetwork, optimizer: torch.optim.Optimizer, order: torch.Generator
) -> tuple[dict[str, Any], _Progress]:
    """Restore the state after the last finished epoch; return the best weights and the progress."""
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    order.set_state(state["order"])
    return state["best"], _Progress(**state["progress"])
