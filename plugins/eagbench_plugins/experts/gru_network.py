"""The torch part of the GRU."""

from __future__ import annotations

from torch import Tensor, nn

from eagbench_plugins.experts.neural_network import ExpertNetwork, RecordHead


class GRUNetwork(ExpertNetwork):
    """torch's GRU and a linear head on its last state.

    Args:
        n_features: Clinical features F.
        n_static: Static facts S.
        hidden_dim: Width of the GRU.
        dropout: Dropout on the last state.
    """

    def __init__(self, n_features: int, n_static: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.gru = nn.GRU(n_features, hidden_dim, batch_first=True)
        self.head = RecordHead(hidden_dim, n_static, dropout)

    def forward(self, values: Tensor, static: Tensor, *gaps: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log odds (B,) and a penalty of 0."""
        del gaps
        _, last_state = self.gru(values)  # (1, B, H)
        return self.head(last_state[0], static)  # type: ignore[no-any-return]
