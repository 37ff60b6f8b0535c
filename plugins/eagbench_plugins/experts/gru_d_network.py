"""The torch part of GRU-D."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eagbench_plugins.experts.neural_network import ExpertNetwork, RecordHead


class GRUDNetwork(ExpertNetwork):
    """GRU-D (Che et al. 2018, equations 3 to 9) and a linear head on its last state.

    Args:
        n_features: Clinical features F.
        n_static: Static facts S.
        hidden_dim: Width H of the GRU.
        dropout: Dropout on the last state.
    """

    def __init__(self, n_features: int, n_static: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        # Each feature decays by its own rate (a diagonal matrix), the state by all features' gaps.
        self.input_decay_rate = nn.Parameter(torch.ones(n_features))
        self.input_decay_offset = nn.Parameter(torch.zeros(n_features))
        self.state_decay = nn.Linear(n_features, hidden_dim)
        # Update gate, reset gate and candidate read values and masks (W, V and b) ...
        self.from_inputs = nn.Linear(2 * n_features, 3 * hidden_dim)
        # ... and the state (U).
        self.gates_from_state = nn.Linear(hidden_dim, 2 * hidden_dim, bias=False)
        self.candidate_from_state = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.head = RecordHead(hidden_dim, n_static, dropout)

    def forward(self, values: Tensor, static: Tensor, *gaps: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log odds (B,) and a penalty of 0.

        Args:
            values: Standardised channels, the last observation carried forward, 0 before the first, shape (B, P, F).
            static: Standardised static facts, shape (B, S).
            gaps: Masks (1: measured in this step), and time since the last measurement before this step as a share of
                the window; both of shape (B, P, F).
        """
        return self.head(self.last_state(values, *gaps), static)  # type: ignore[no-any-return]

    def last_state(self, values: Tensor, observed: Tensor, elapsed: Tensor) -> Tensor:
        """Compute the state after the last step. Shape (B, H)."""
        input_decay = torch.exp(-torch.relu(self.input_decay_rate * elapsed + self.input_decay_offset))  # (B, P, F)
        # The mean that an unmeasured value decays to is 0, and what it decays from is the value carried forward.
        decayed = values * torch.where(observed > 0, 1.0, input_decay)  # (B, P, F)
        state_decay = torch.exp(-torch.relu(self.state_decay(elapsed)))  # (B, P, H)
        driven = self.from_inputs(torch.cat([decayed, observed], dim=2))  # (B, P, 3H)
        state = values.new_zeros(len(values), self.hidden_dim)  # (B, H)
        # unbind, not [:, t]: the gradient of a slice would be as large as the whole at every step.
        for to_gates, to_candidate, decay in zip(
            driven[:, :, : 2 * self.hidden_dim].unbind(1),
            driven[:, :, 2 * self.hidden_dim :].unbind(1),
            state_decay.unbind(1),
            strict=True,
        ):
            state = decay * state
            update, reset = torch.sigmoid(to_gates + self.gates_from_state(state)).chunk(2, dim=1)
            candidate = torch.tanh(to_candidate + self.candidate_from_state(reset * state))
            state = (1.0 - update) * state + update * candidate
        return state
