"""The torch part of ConCare that predicting needs. Importing it loads torch and PyHealth (about 5 s)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyhealth.models.concare import ConCareLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eagbench.api import FloatArray
from eagbench_plugins.experts.channels import Channels

PREDICTION_BATCH = 256


class ConCareNetwork(nn.Module):  # type: ignore[misc]
    """PyHealth's ConCareLayer and a linear head.

    Args:
        n_features: Clinical features F; each is one channel.
        n_static: Static facts S; with any, the layer appends them as channel F.
        hidden_dim: Width of the layer.
        heads: Heads of its self-attention.
        dropout: Its dropout.
    """

    def __init__(self, n_features: int, n_static: int, hidden_dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.n_features = n_features
        self.n_static = n_static
        self.layer = ConCareLayer(
            input_dim=n_features,
            static_dim=n_static,
            hidden_dim=hidden_dim,
            num_head=heads,
            pe_hidden=2 * hidden_dim,
            dropout=dropout,
        )
        self.head = nn.Linear(hidden_dim, 1)

    def forward(self, values: Tensor, static: Tensor) -> tuple[Tensor, Tensor]:
        """Log odds and the layer's DeCov loss.

        Args:
            values: Standardised channels, shape (B, P, F).
            static: Standardised static facts, shape (B, S).

        Returns:
            Log odds of shape (B,), loss of shape ().
        """
        embedding, decov = self.layer(values, static if self.n_static else None)  # (B, H), ()
        return self.head(embedding).squeeze(-1), decov

    def forward_with_attention(self, values: Tensor, static: Tensor) -> tuple[Tensor, Tensor]:
        """Log odds (B,) and the final attention's weight per clinical feature (B, F); only in eval mode.

        PyHealth's layer drops the weights that its FinalAttentionQKV returns as second element; a hook keeps them.
        """
        kept: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: Any, output: tuple[Tensor, Tensor]) -> None:
            kept.append(output[1])  # (B, F), or (B, F + 1) with static facts

        hook = self.layer.FinalAttentionQKV.register_forward_hook(keep)
        try:
            log_odds, _ = self(values, static)
        finally:
            hook.remove()
        (attention,) = kept
        return log_odds, attention[:, : self.n_features]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkOutput:
    """What the network says of N cases: `probability` (N,) and `attention` (N, F), both float64."""

    probability: FloatArray
    attention: FloatArray


def apply(network: ConCareNetwork, values: FloatArray, static: FloatArray) -> NetworkOutput:
    """Asks the network, in batches, in eval mode.

    Args:
        network: The network.
        values: Channels, shape (N, P, F), float32.
        static: Static facts, shape (N, S), float32.
    """
    network.eval()
    probability, attention = [np.zeros(0)], [np.zeros((0, network.n_features))]
    with reproducible_torch(), torch.inference_mode():
        for start in range(0, len(values), PREDICTION_BATCH):
            rows = slice(start, start + PREDICTION_BATCH)
            log_odds, weights = network.forward_with_attention(
                torch.from_numpy(values[rows]), torch.from_numpy(static[rows])
            )
            probability.append(torch.sigmoid(log_odds.double()).numpy())
            attention.append(weights.double().numpy())
    return NetworkOutput(np.concatenate(probability), np.concatenate(attention))


def save_network(network: ConCareNetwork, channels: Channels, path: Path) -> None:
    """Writes weights and scales as safetensors."""
    tensors = {f"network.{name}": value.contiguous() for name, value in network.state_dict().items()}
    for name in ("mean", "scale", "static_mean", "static_scale"):
        tensors[f"channels.{name}"] = torch.from_numpy(getattr(channels, name).copy())
    save_file(tensors, path)


def load_network(
    params: Any, features: tuple[str, ...], static_names: tuple[str, ...], path: Path
) -> tuple[ConCareNetwork, Channels]:
    """The network and scales that `save_network` wrote."""
    tensors = load_file(path)
    scales = {name: tensors[f"channels.{name}"].numpy() for name in ("mean", "scale", "static_mean", "static_scale")}
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then replaced
        network = ConCareNetwork(len(features), len(static_names), params.hidden_dim, params.heads, params.dropout)
    weights = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    network.load_state_dict(weights)
    network.eval()
    return network, Channels(features, static_names, **scales)


@contextmanager
def reproducible_torch() -> Iterator[None]:
    """One thread and deterministic algorithms only: the same bytes whatever runs beside.

    The layer's loop over small GRUs gains little from more threads (0.16 s a step with one or two, at width 32 and
    batch 64). The settings are the process's own, so they are put back.
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
