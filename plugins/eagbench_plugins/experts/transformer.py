"""Transformer: self-attention over time steps.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, by PyHealth 2.1's `TransformerLayer` (pre-norm blocks, GELU).
The layer has no sense of time of its own and PyHealth's model takes the first step's output for the whole: here each
step is given the paper's sinusoidal position (section 3.5), and a learned token stands before the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from eagbench_plugins.experts.neural_expert import NeuralExpert, NeuralParams

if TYPE_CHECKING:
    from eagbench_plugins.experts.transformer_network import TransformerNetwork


class Transformer(NeuralExpert):
    """A token that attends to all time steps. Salience: integrated gradients."""

    name: ClassVar[str] = "transformer"

    class Params(NeuralParams):
        """Parameters, with those of every neural expert.

        Attributes:
            heads: Heads of the self-attention; they divide `hidden_dim`.
            layers: Blocks.
        """

        heads: Annotated[int, Field(ge=1)] = 4
        layers: Annotated[int, Field(ge=1)] = 2

        @model_validator(mode="after")
        def _heads_divide_width(self) -> Self:
            if self.hidden_dim % self.heads:
                raise ValueError(f"hidden_dim {self.hidden_dim} is not a multiple of heads {self.heads}")
            return self

    params: Params

    def _network(self, n_features: int, n_static: int) -> TransformerNetwork:
        from eagbench_plugins.experts.transformer_network import TransformerNetwork

        params = self.params
        return TransformerNetwork(
            n_features, n_static, params.periods, params.hidden_dim, params.heads, params.layers, params.dropout
        )
