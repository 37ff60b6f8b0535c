"""The torch part of the Transformer. Importing it loads torch and PyHealth (about 5 s)."""

from __future__ import annotations

import math

import torch
from pyhealth.models.transformer import TransformerLayer
from torch import Tensor, nn

from eagbench_plugins.experts.neural_network import ExpertNetwork, RecordHead
from eagbench_plugins.experts.transformer_params import TransformerParams


class TransformerNetwork(ExpertNetwork):
    """A linear embedding of each step with its position, PyHealth's TransformerLayer, and a linear head.

    Args:
        n_features: Clinical features F.
        n_static: Static facts S.
        params: Time steps P, width of the embedding, heads and blocks, dropout in the blocks and before the head.
    """

    def __init__(self, n_features: int, n_static: int, params: TransformerParams) -> None:
        super().__init__()
        width = params.hidden_dim
        self.embedding = nn.Linear(n_features, width)
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("position", sinusoids(params.periods, width), persistent=False)
        self.layer = TransformerLayer(width, heads=params.heads, dropout=params.dropout, num_layers=params.layers)
        self.norm = nn.LayerNorm(width)  # what leaves pre-norm blocks is not normalised
        self.head = RecordHead(width, n_static, params.dropout)

    def forward(self, values: Tensor, static: Tensor, *gaps: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log odds (B,) and a penalty of 0."""
        del gaps
        steps = self.embedding(values) + self.position  # (B, P, H)
        token = self.token.expand(len(values), 1, -1)
        _, summary = self.layer(torch.cat([token, steps], dim=1))  # (B, H), of the first step
        return self.head(self.norm(summary), static)  # type: ignore[no-any-return]


def sinusoids(periods: int, width: int) -> Tensor:
    """Compute sines and cosines of the position in decreasing frequencies (Vaswani et al. 2017, section 3.5).

    Returns:
        Shape (periods, width).
    """
    position = torch.arange(periods, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    table = torch.zeros(periods, width)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency[: width // 2])
    return table
