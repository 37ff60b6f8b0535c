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

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from eagbench_plugins.experts.neural_expert import NeuralExpert, NeuralParams

if TYPE_CHECKING:
    from eagbench_plugins.experts.adacare_network import AdaCareNetwork

Weights = Literal["integrated_gradients", "recalibration"]


class AdaCare(NeuralExpert):
    """A GRU on recalibrated features and recalibrated convolutions of them. Salience: integrated gradients."""

    name: ClassVar[str] = "adacare"

    class Params(NeuralParams):
        """Parameters, with those of every neural expert.

        Attributes:
            kernel_size: Steps that each convolution reads.
            kernel_num: Filters of each of the three dilations (1, 3 and 5 steps).
            weights: What becomes salience: `integrated_gradients`, or `recalibration`, the layer's own weights,
                averaged over time.
        """

        kernel_size: Annotated[int, Field(ge=1)] = 2
        kernel_num: Annotated[int, Field(ge=2)] = 64
        weights: Weights = "integrated_gradients"

    params: Params

    def _network(self, n_features: int, n_static: int) -> AdaCareNetwork:
        from eagbench_plugins.experts.adacare_network import AdaCareNetwork

        params = self.params
        return AdaCareNetwork(
            n_features,
            n_static,
            params.hidden_dim,
            params.kernel_size,
            params.kernel_num,
            params.dropout,
            params.weights,
        )
