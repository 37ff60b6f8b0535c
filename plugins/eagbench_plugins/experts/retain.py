"""RETAIN: two attentions, over time and over the embedding, on an embedding that is linear in the features.

Choi et al., "RETAIN: An Interpretable Predictive Model for Healthcare using Reverse Time Attention Mechanism", NeurIPS
2016, with PyHealth 2.1's `RETAINLayer`. Departures:

1. PyHealth's layer reads the record backwards, as in the paper, but does not reverse the attentions afterwards. So step
   j is weighted with the attention computed after reading the last j steps. This is kept so that outputs match
   PyHealth's; the contributions use the weights that were actually applied.
2. The head reads the static facts together with the context, and they are not part of the feature contributions.
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
        """The parameters of every neural expert; `dropout` acts on the embedding of each step."""

    params: Params

    def _network(self, n_features: int, n_static: int) -> RETAINNetwork:
        from eagbench_plugins.experts.retain_network import RETAINNetwork

        return RETAINNetwork(n_features, n_static, self.params.hidden_dim, self.params.dropout)
