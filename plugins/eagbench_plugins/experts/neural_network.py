"""Shared base of the neural experts' networks, with prediction, saving and loading. Importing it loads torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eagbench.api import FloatArray
from eagbench_plugins.experts.channels import Channels

PREDICTION_BATCH = 256
# Points of the Gauss-Legendre rule along the way from the training mean to the case.
INTEGRATION_POINTS = 32


class ExpertNetwork(nn.Module):  # type: ignore[misc]
    """A network that reads channels (B, P, F), static facts (B, S), and any further inputs of its expert.

    By default its feature weights are integrated gradients.
    """

    def forward(self, values: Tensor, static: Tensor, *gaps: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log odds (B,) and the penalty that training adds to the log loss, shape ()."""
        raise NotImplementedError

    def attributions(self, values: Tensor, static: Tensor, *gaps: Tensor) -> Tensor:
        """Compute how much each standardised value adds to the log odds; only in eval mode.

        The method is integrated gradients (Sundararajan et al. 2017, equation 1; Captum) along the straight line from
        the training mean, which is 0, to the case. Static facts and gaps stay fixed. So the attributions of a case sum
        to its log odds minus those of a case with the same static facts and gaps whose values are all average.

        Returns:
            Shape (B, P, F).
        """
        from captum.attr import IntegratedGradients

        def log_odds(*inputs: Tensor) -> Tensor:
            return self(*inputs)[0]

        attributions: Tensor = IntegratedGradients(log_odds).attribute(
            values,
            additional_forward_args=(static, *gaps),
            n_steps=INTEGRATION_POINTS,
            method="gausslegendre",
            internal_batch_size=PREDICTION_BATCH,
        )
        return attributions.detach()

    def feature_weights(self, values: Tensor, static: Tensor, *gaps: Tensor) -> Tensor:
        """Compute a non-negative weight per feature, not normalised: the sum of absolute attributions over time.

        Returns:
            Shape (B, F).
        """
        return self.attributions(values, static, *gaps).abs().sum(dim=1)


class RecordHead(nn.Module):  # type: ignore[misc]
    """A head whose log odds are linear in the embedding of the channels and in the static facts.

    Args:
        embedding_dim: Width H of the embedding.
        n_static: Static facts S.
        dropout: Dropout on the embedding.
    """

    def __init__(self, embedding_dim: int, n_static: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(embedding_dim + n_static, 1)

    def forward(self, embedding: Tensor, static: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, H) and (B, S) to log odds (B,) and a penalty of 0, as `ExpertNetwork.forward` returns them."""
        log_odds: Tensor = self.linear(torch.cat([self.dropout(embedding), static], dim=1)).squeeze(-1)
        return log_odds, log_odds.new_zeros(())


def probabilities(network: ExpertNetwork, inputs: tuple[FloatArray, ...]) -> FloatArray:
    """Compute the network's probabilities, in batches, in eval mode.

    Args:
        network: The network.
        inputs: Its inputs, float32, one row per case.

    Returns:
        Shape (N,), float64.
    """
    network.eval()
    answers = [np.zeros(0)]
    with reproducible_torch(), torch.inference_mode():
        answers.extend(torch.sigmoid(network(*batch)[0].double()).numpy() for batch in _batches(inputs))
    return np.concatenate(answers)


def feature_weights(network: ExpertNetwork, inputs: tuple[FloatArray, ...]) -> FloatArray:
    """Compute the network's weight per feature, in batches, in eval mode.

    Args:
        network: The network.
        inputs: Its inputs, float32, one row per case; channels (N, P, F) first.

    Returns:
        Shape (N, F), float64, not normalised.
    """
    network.eval()
    weights = [np.zeros((0, inputs[0].shape[2]))]
    with reproducible_torch():
        weights.extend(network.feature_weights(*batch).double().numpy() for batch in _batches(inputs))
    return np.concatenate(weights)


def _batches(inputs: tuple[FloatArray, ...]) -> Iterator[tuple[Tensor, ...]]:
    for start in range(0, len(inputs[0]), PREDICTION_BATCH):
        yield tuple(torch.from_numpy(part[start : start + PREDICTION_BATCH]) for part in inputs)


def save_network(network: ExpertNetwork, channels: Channels, path: Path) -> None:
    """Write weights and scales as safetensors."""
    # Copies, because a layer may hold a module under two names (PyHealth's TCN) and safetensors takes no shared memory.
    tensors = {
        f"network.{name}": value.clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
    for name in ("mean", "scale", "static_mean", "static_scale"):
        tensors[f"channels.{name}"] = torch.from_numpy(getattr(channels, name).copy())
    save_file(tensors, path)


def load_network[Network: ExpertNetwork](
    build: Callable[[], Network], features: tuple[str, ...], static_names: tuple[str, ...], path: Path
) -> tuple[Network, Channels]:
    """Load the scales and weights that `save_network` wrote, the weights into a network that `build` creates."""
    tensors = load_file(path)
    scales = {name: tensors[f"channels.{name}"].numpy() for name in ("mean", "scale", "static_mean", "static_scale")}
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then replaced
        network = build()
    weights = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    network.load_state_dict(weights)
    network.eval()
    return network, Channels(features, static_names, **scales)


@contextmanager
def reproducible_torch() -> Iterator[None]:
    """Run torch with one thread and deterministic algorithms, so that results are the same to the byte.

    Networks of this size gain little from more threads (ConCare: 0.16 s per step with one or two, at width 32 and batch
    64). These settings apply to the whole process, so they are restored at the end of the context.
    """
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
