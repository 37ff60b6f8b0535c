"""Transformer: self-attention over time steps.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, with PyHealth 2.1's `TransformerLayer` (pre-norm blocks,
GELU). The layer itself has no notion of time, and PyHealth's model uses the first step's output as the summary. Here
each step gets the paper's sinusoidal position (section 3.5), and a learned token is placed before the first step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from eagbench_plugins.experts.neural_expert import NeuralExpert
from eagbench_plugins.experts.transformer_params import TransformerParams

if TYPE_CHECKING:
    from eagbench_plugins.experts.transformer_network import TransformerNetwork


class Transformer(NeuralExpert):
    """A token that attends to all time steps. Salience: integrated gradients."""

    name: ClassVar[str] = "transformer"

    Params = TransformerParams

    params: TransformerParams

    def _network(self, n_features: int, n_static: int) -> TransformerNetwork:
        from eagbench_plugins.experts.transformer_network import TransformerNetwork

        return TransformerNetwork(n_features, n_static, self.params)
