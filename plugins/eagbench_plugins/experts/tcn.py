"""TCN: dilated causal convolutions over time.

Bai et al., "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling",
arXiv:1803.01271 (2018), with PyHealth 2.1's `TCNLayer` and as many blocks as it takes to cover the whole window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from eagbench_plugins.experts.neural_expert import NeuralExpert
from eagbench_plugins.experts.neural_params import NeuralParams

if TYPE_CHECKING:
    from eagbench_plugins.experts.tcn_network import TCNNetwork


class TCN(NeuralExpert):
    """The last step's output of residual convolution blocks. Salience: integrated gradients."""

    name: ClassVar[str] = "tcn"

    class Params(NeuralParams):
        """Parameters, in addition to those of every neural expert.

        Attributes:
            kernel_size: Steps that each convolution reads.
        """

        kernel_size: Annotated[int, Field(ge=2)] = 3

    params: Params

    def _network(self, n_features: int, n_static: int) -> TCNNetwork:
        from eagbench_plugins.experts.tcn_network import TCNNetwork

        params = self.params
        return TCNNetwork(n_features, n_static, params.periods, params.hidden_dim, params.kernel_size, params.dropout)
