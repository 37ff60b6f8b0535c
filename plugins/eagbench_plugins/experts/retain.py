"""RETAIN: two attentions, over time and over the embedding, on an embedding that is linear in the features.

Choi et al., "RETAIN: An Interpretable Predictive Model for Healthcare using Reverse Time Attention Mechanism", NeurIPS
2016, by PyHealth 2.1's `RETAINLayer`. Departures:

1. PyHealth's layer runs over the record backwards, as the paper does, but does not turn the attentions round again:
   step j is weighted with what was computed after reading the last j steps. It is left so, because its outputs are
   those of PyHealth; the contributions are computed with the weights that were in fact applied.
2. The static facts enter the head beside the context, and are no part of the contributions to features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from eagbench_plugins.experts.neural_expert import NeuralExpert
from eagbench_plugins.experts.neural_params import NeuralParams

if TYPE_CHECKING:
    from eagbench_plugins.experts.retain_network import RETAINNetwork


class RETAIN(NeuralExpert):
    """Salience: the absolute contributions of a feature's values to the log odds, summed over time (equation 5)."""

    name: ClassVar[str] = "retain"

    class Params(NeuralParams):
        """Parameters, which are those of every neural expert; `dropout` acts on the embedding of each step."""

    params: Params

    def _network(self, n_features: int, n_static: int) -> RETAINNetwork:
        from eagbench_plugins.experts.retain_network import RETAINNetwork

        return RETAINNetwork(n_features, n_static, self.params.hidden_dim, self.params.dropout)
