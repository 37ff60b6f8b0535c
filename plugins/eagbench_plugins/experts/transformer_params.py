"""Parameters of the expert `transformer`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from eagbench_plugins.experts.neural_params import NeuralParams


class TransformerParams(NeuralParams):
    """Parameters, in addition to those of every neural expert.

    Attributes:
        heads: Heads of the self-attention; must divide `hidden_dim`.
        layers: Number of blocks.
    """

    heads: Annotated[int, Field(ge=1)] = 4
    layers: Annotated[int, Field(ge=1)] = 2

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.hidden_dim % self.heads:
            raise ValueError(f"hidden_dim {self.hidden_dim} is not a multiple of heads {self.heads}")
        return self
