"""ConCare: the deep-learning expert of the EAG-RL paper (Fang et al., arXiv 2508.13579), and its attention teacher.

Ma et al., "ConCare: Personalized Clinical Feature Embedding via Capturing the Healthcare Context", AAAI 2020, with
PyHealth 2.1's `ConCareLayer`. Each clinical feature is one channel, and all channels are computed at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from eagbench_plugins.experts.neural_expert import NeuralExpert
from eagbench_plugins.experts.neural_params import NeuralParams

if TYPE_CHECKING:
    from eagbench_plugins.experts.concare_network import ConCareNetwork


class ConCare(NeuralExpert):
    """One GRU per feature, self-attention over features, and a final attention whose weights are the salience.

    The layer appends the static facts as one more channel; its weight is left out of the salience.
    """

    name: ClassVar[str] = "concare"

    class Params(NeuralParams):
        """Parameters, in addition to those of every neural expert.

        Attributes:
            periods: Time steps that the window is divided into (12 of 48 hours: 4 hours each).
            hidden_dim: Width of each GRU and of the attention; a multiple of `heads`.
            heads: Heads of the self-attention over features.
            learning_rate: Learning rate of AdamW.
            decorrelation: Weight of the layer's DeCov loss, which keeps the features' contexts apart; 1 as in PyHealth.
        """

        periods: Annotated[int, Field(ge=1, le=400)] = 12
        hidden_dim: Annotated[int, Field(ge=1)] = 32
        heads: Annotated[int, Field(ge=1)] = 4
        learning_rate: Annotated[float, Field(gt=0)] = 3e-3
        decorrelation: Annotated[float, Field(ge=0)] = 1.0

        @model_validator(mode="after")
        def _heads_divide_width(self) -> Self:
            if self.hidden_dim % self.heads:
                raise ValueError(f"hidden_dim {self.hidden_dim} is not a multiple of heads {self.heads}")
            return self

    params: Params

    def _network(self, n_features: int, n_static: int) -> ConCareNetwork:
        from eagbench_plugins.experts.concare_network import ConCareNetwork

        params = self.params
        return ConCareNetwork(
            n_features, n_static, params.hidden_dim, params.heads, params.dropout, params.decorrelation
        )
