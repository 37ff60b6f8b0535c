"""Parameters of the expert `adacare`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eagbench_plugins.experts.neural_params import NeuralParams


class AdaCareParams(NeuralParams):
    """Parameters, in addition to those of every neural expert.

    Attributes:
        kernel_size: Steps that each convolution reads.
        kernel_num: Filters of each of the three dilations (1, 3 and 5 steps).
        weights: Source of the salience: `integrated_gradients`, or `recalibration`, the layer's own weights averaged
            over time.
    """

    kernel_size: Annotated[int, Field(ge=1)] = 2
    kernel_num: Annotated[int, Field(ge=2)] = 64
    weights: Literal["integrated_gradients", "recalibration"] = "integrated_gradients"
