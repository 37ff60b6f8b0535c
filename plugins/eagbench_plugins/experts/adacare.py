"""AdaCare: dilated convolutions over time, and gates that recalibrate features by the case.

Ma et al., "AdaCare: Explainable Clinical Health Status Representation Learning via Scale-Adaptive Feature Extraction
and Recalibration", AAAI 2020, by PyHealth 2.1's `AdaCareLayer`. Departures:

1. PyHealth makes the layer's GRU without `batch_first` and hands it (case, time, channel): it would run from one
   patient of a batch to the next, and a prediction would depend on the patients beside it. Here it runs over time.
2. The static facts enter the head beside the last state.
3. Salience is integrated gradients and not the recalibration weights that the paper shows, unless these are asked for.
   The convolutions read the features past the recalibration, so nothing holds its weights to what matters: on
   synthetic data they rank the features as their initial values did, whether labels are real or random
   (tests/plugins/experts/test_adacare.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from eagbench_plugins.experts.adacare_params import AdaCareParams
from eagbench_plugins.experts.neural_expert import NeuralExpert

if TYPE_CHECKING:
    from eagbench_plugins.experts.adacare_network import AdaCareNetwork


class AdaCare(NeuralExpert):
    """A GRU on recalibrated features and recalibrated convolutions of them. Salience: integrated gradients."""

    name: ClassVar[str] = "adacare"

    Params = AdaCareParams

    params: AdaCareParams

    def _network(self, n_features: int, n_static: int) -> AdaCareNetwork:
        from eagbench_plugins.experts.adacare_network import AdaCareNetwork

        return AdaCareNetwork(n_features, n_static, self.params)
