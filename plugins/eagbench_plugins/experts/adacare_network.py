"""The torch part of AdaCare. Importing it loads torch and PyHealth (about 5 s)."""

from __future__ import annotations

import torch
from pyhealth.models.adacare import AdaCareLayer
from torch import Tensor

from eagbench_plugins.experts.adacare_params import AdaCareParams
from eagbench_plugins.experts.neural_network import ExpertNetwork, RecordHead

# The recalibrations' bottlenecks are this much narrower than what they recalibrate, as in PyHealth.
REDUCTION = 4


class AdaCareNetwork(ExpertNetwork):
    """PyHealth's AdaCareLayer, with its GRU running over time, and a linear head.

    Args:
        n_features: Clinical features F.
        n_static: Static facts S.
        params: Width of the GRU, the convolutions, dropout on the last state, and the kind of `feature_weights`.
    """

    def __init__(self, n_features: int, n_static: int, params: AdaCareParams) -> None:
        super().__init__()
        self.weights = params.weights
        self.layer = AdaCareLayer(
            input_dim=n_features,
            hidden_dim=params.hidden_dim,
            kernel_size=params.kernel_size,
            kernel_num=params.kernel_num,
            # A bottleneck has at least one unit.
            r_v=min(REDUCTION, n_features),
            r_c=REDUCTION,
            activation="sigmoid",
            dropout=0.0,  # the head has it
        )
        self.layer.rnn.batch_first = True
        self.head = RecordHead(params.hidden_dim, n_static, params.dropout)

    def forward(self, values: Tensor, static: Tensor, *gaps: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log odds (B,) and a penalty of 0."""
        del gaps
        last_state, _, _, _ = self.layer(values)  # (B, H)
        return self.head(last_state, static)  # type: ignore[no-any-return]

    def feature_weights(self, values: Tensor, static: Tensor, *gaps: Tensor) -> Tensor:
        """Compute the weight per feature. Shape (B, F).

        It is the sum of absolute attributions over time, or the mean of the recalibration weights (0 to 1) over time.
        """
        if self.weights == "integrated_gradients":
            return super().feature_weights(values, static, *gaps)
        with torch.inference_mode():
            _, _, recalibration, _ = self.layer(values)  # (B, P, F)
            return recalibration.mean(dim=1)
