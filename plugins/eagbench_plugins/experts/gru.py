"""GRU: the recurrent baseline network (Cho et al., EMNLP 2014; torch's implementation)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from eagbench_plugins.experts.neural_expert import NeuralExpert
from eagbench_plugins.experts.neural_params import NeuralParams

if TYPE_CHECKING:
    from eagbench_plugins.experts.gru_network import GRUNetwork


class GRU(NeuralExpert):
    """The last state of one GRU over all features. Salience: integrated gradients."""

    name: ClassVar[str] = "gru"

    class Params(NeuralParams):
        """The parameters of every neural expert; `dropout` acts on the last state."""

    params: Params

    def _network(self, n_features: int, n_static: int) -> GRUNetwork:
        from eagbench_plugins.experts.gru_network import GRUNetwork

        return GRUNetwork(n_features, n_static, self.params.hidden_dim, self.params.dropout)
