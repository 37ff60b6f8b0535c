"""GRU-D: a GRU that knows what was measured when, and forgets what was not.

Che et al., "Recurrent Neural Networks for Multivariate Time Series with Missing Values", Scientific Reports 8:6085
(2018). Departures:

1. The time since the last measurement is a share of the window and not a number of hours, and the rates of the inputs'
   decay start at 1 per window: with rates around 0 half of the rectified ones would never learn.
2. The static facts enter the head beside the last state. Dropout acts on the last state only, and there is no batch
   normalisation.
3. Inputs decay towards the mean over all steps with a value, carried forward or measured, which is the 0 of the
   channels that all neural experts share, and not towards that of the measurements.
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

    Salience: integrated gradients with respect to the values; when something was measured stays as it was, so what the
    network reads from the masks alone is in no feature's weight.
    """

    name: ClassVar[str] = "gru_d"

    class Params(NeuralParams):
        """Parameters, which are those of every neural expert; `dropout` acts on the last state."""

    params: Params

    def _network(self, n_features: int, n_static: int) -> GRUDNetwork:
        from eagbench_plugins.experts.gru_d_network import GRUDNetwork

        return GRUDNetwork(n_features, n_static, self.params.hidden_dim, self.params.dropout)

    def _inputs(self, cases: Cases) -> tuple[FloatArray, ...]:
        """Channels, static facts, masks and time since measurement."""
        return (*super()._inputs(cases), *self.channels.gaps(cases, self.params.periods))
