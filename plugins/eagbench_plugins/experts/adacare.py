"""AdaCare: dilated convolutions over time, and gates that recalibrate features by the case.

Ma et al., "AdaCare: Explainable Clinical Health Status Representation Learning via Scale-Adaptive Feature Extraction
and Recalibration", AAAI 2020, with PyHealth 2.1's `AdaCareLayer`. Departures:

1. PyHealth creates the layer's GRU without `batch_first` but passes it (case, time, channel). The GRU would run from
   one patient of a batch to the next, and a prediction would depend on the other patients in the batch. Here it runs
   over time.
2. The head reads the static facts together with the last state.
3. Salience is integrated gradients by default, not the recalibration weights that the paper shows. The convolutions
   bypass the recalibration when they read the features, so nothing ties its weights to the important features. On
   synthetic data, the weights rank the features as their initial values did, whether labels are real or random
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
