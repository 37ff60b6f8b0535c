"""The torch part of ConCare. Importing it loads torch and PyHealth (about 5 s)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eagbench_plugins.experts.concare_layer import ChannelwiseConCareLayer
from eagbench_plugins.experts.neural_network import ExpertNetwork


class ConCareNetwork(ExpertNetwork):
    """PyHealth's ConCareLayer, computed for all channels at once, and a linear head.

    Args:
        n_features: Clinical features F; each is one channel.
        n_static: Static facts S; with any, the layer appends them as channel F.
        hidden_dim: Width of the layer.
        heads: Heads of its self-attention.
        dropout: Its dropout.
        decorrelation: Weight of its DeCov loss.
    """

    def __init__(
        self, n_features: int, n_static: int, hidden_dim: int, heads: int, dropout: float, decorrelation: float = 1.0
    ) -> None:
        super().__init__()
        self.n_features = n_features
        self.n_static = n_static
        self.decorrelation = decorrelation
        self.layer = ChannelwiseConCareLayer(
            input_dim=n_features,
            static_dim=n_static,
            hidden_dim=hidden_dim,
            num_head=heads,
            pe_hidden=2 * hidden_dim,
            dropout=dropout,
        )
        self.head = nn.Linear(hidden_dim, 1)

    def forward(self, values: Tensor, static: Tensor, *gaps: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log odds (B,) and the layer's weighted DeCov loss, shape ()."""
        del gaps
        embedding, decov = self.layer(values, static if self.n_static else None)  # (B, H), ()
        return self.head(embedding).squeeze(-1), self.decorrelation * decov

    def forward_with_attention(self, values: Tensor, static: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log odds (B,) and the final attention's weight per clinical feature (B, F); only in eval mode.

        PyHealth's layer discards the weights that its FinalAttentionQKV returns as second element; a hook keeps them.
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

    def feature_weights(self, values: Tensor, static: Tensor, *gaps: Tensor) -> Tensor:
        """Return the final attention's weight per clinical feature. Shape (B, F)."""
        del gaps
        with torch.inference_mode():
            return self.forward_with_attention(values, static)[1]
