"""GRU-D: a GRU that reads which values were measured when, and whose memory of missing values decays.

Che et al., "Recurrent Neural Networks for Multivariate Time Series with Missing Values", Scientific Reports 8:6085
(2018). Departures:

1. The time since the last measurement is a share of the window, not a number of hours. The decay rates of the inputs
   start at 1 per window, because with initial rates around 0, half of the rectified rates would never learn.
2. The head reads the static facts together with the last state. Dropout acts on the last state only, and there is no
   batch normalisation.
3. Inputs decay towards the mean over all steps with a value, whether carried forward or measured. This is the 0 of the
   channels that all neural experts share. The paper uses the mean of the measurements only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from eagbench.api import Cases, FloatArray
from eagbench_plugins.experts.neural_expert import NeuralExpert
from eagbench_plugins.experts.neural_params import NeuralParams

if TYPE_CHECKING:
    from eagbench_plugins.experts.gru_d_network import GRUDNetwork


class GRUD(NeuralExpert):
    """A GRU on values, masks and time since measurement, with trainable decay of inputs and state.

    Salience: integrated gradients with respect to the values. The measurement times stay fixed, so no feature's weight
    includes what the network reads from the masks alone.
    """

    name: ClassVar[str] = "gru_d"

    class Params(NeuralParams):
        """The parameters of every neural expert; `dropout` acts on the last state."""

    params: Params

    def _network(self, n_features: int, n_static: int) -> GRUDNetwork:
        from eagbench_plugins.experts.gru_d_network import GRUDNetwork

        return GRUDNetwork(n_features, n_static, self.params.hidden_dim, self.params.dropout)

    def _inputs(self, cases: Cases) -> tuple[FloatArray, ...]:
        """Return channels, static facts, masks and time since measurement."""
        return (*super()._inputs(cases), *self.channels.gaps(cases, self.params.periods))
