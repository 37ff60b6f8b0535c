"""The torch part of RETAIN. Importing it loads torch and PyHealth (about 5 s)."""

from __future__ import annotations

from typing import Any

import torch
from pyhealth.models.retain import RETAINLayer
from torch import Tensor, nn

from eagbench_plugins.experts.neural_network import ExpertNetwork


class RETAINNetwork(ExpertNetwork):
    """A linear embedding without bias, PyHealth's RETAINLayer, and a linear head.

    Args:
        n_features: Clinical features F.
        n_static: Static facts S.
        hidden_dim: Width of the embedding and of both GRUs.
        dropout: Dropout on the embedding.
    """

    def __init__(self, n_features: int, n_static: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.embedding = nn.Linear(n_features, hidden_dim, bias=False)
        self.layer = RETAINLayer(hidden_dim, dropout=dropout)
        self.head = nn.Linear(hidden_dim + n_static, 1)

    def forward(self, values: Tensor, static: Tensor, *gaps: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log odds (B,) and a penalty of 0."""
        del gaps
        context = self.layer(self.embedding(values))  # (B, H)
        log_odds: Tensor = self.head(torch.cat([context, static], dim=1)).squeeze(-1)
        return log_odds, log_odds.new_zeros(())

    def attributions(self, values: Tensor, static: Tensor, *gaps: Tensor) -> Tensor:
        """Compute the contribution of each value to the log odds; only in eval mode.

        Choi et al. 2016, equation 5: alpha_j W (beta_j * W_emb[:, k]) x_jk. Per case they sum to the log odds minus
        the head's terms for the static facts and its bias. The layer does not return its two attentions; hooks on the
        linear maps before them keep their arguments.

        Returns:
            Shape (B, P, F).
        """
        del gaps
        kept: dict[nn.Module, Tensor] = {}

        def keep(module: nn.Module, _inputs: Any, output: Tensor) -> None:
            kept[module] = output

        below_alpha, below_beta = self.layer.alpha_li, self.layer.beta_li
        hooks = [module.register_forward_hook(keep) for module in (below_alpha, below_beta)]
        try:
            with torch.inference_mode():
                self(values, static)
                alpha = torch.softmax(kept[below_alpha], dim=1)  # (B, P, 1)
                beta = torch.tanh(kept[below_beta])  # (B, P, H)
                weight = self.head.weight[0, : self.hidden_dim]  # (H,)
                return alpha * ((beta * weight) @ self.embedding.weight) * values  # (B, P, F)
        finally:
            for hook in hooks:
                hook.remove()
