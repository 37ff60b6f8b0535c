"""The torch part of the TCN. Importing it loads torch and PyHealth (about 5 s)."""

from __future__ import annotations

from pyhealth.models.tcn import TCNLayer
from torch import Tensor

from eagbench_plugins.experts.neural_network import ExpertNetwork, RecordHead


class TCNNetwork(ExpertNetwork):
    """PyHealth's TCNLayer and a linear head on its last step.

    Args:
        n_features: Clinical features F.
        n_static: Static facts S.
        periods: Time steps P.
        hidden_dim: Channels of each block.
        kernel_size: Steps that each convolution reads.
        dropout: Dropout in the blocks and before the head.
    """

    def __init__(
        self, n_features: int, n_static: int, periods: int, hidden_dim: int, kernel_size: int, dropout: float
    ) -> None:
        super().__init__()
        # The number of blocks is not left to PyHealth's `max_seq_length`, which makes none for two steps.
        blocks = blocks_to_see(periods, kernel_size)
        self.layer = TCNLayer(n_features, [hidden_dim] * blocks, kernel_size=kernel_size, dropout=dropout)
        self.head = RecordHead(hidden_dim, n_static, dropout)

    def forward(self, values: Tensor, static: Tensor, *gaps: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log odds (B,) and a penalty of 0."""
        del gaps
        _, last_step = self.layer(values)  # (B, H)
        return self.head(last_step, static)  # type: ignore[no-any-return]


def blocks_to_see(periods: int, kernel_size: int) -> int:
    """Compute how many blocks the last step needs to cover all steps; block i has two convolutions dilated by 2^i."""
    blocks = 1
    while 1 + 2 * (kernel_size - 1) * (2**blocks - 1) < periods:
        blocks += 1
    return blocks
