"""Parameters that every neural expert has."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eagbench.api import StrictParams


class NeuralParams(StrictParams):
    """Parameters of every neural expert.

    Attributes:
        periods: Time steps that the window is divided into (48 of 48 hours: one hour each).
        hidden_dim: Width of the network.
        dropout: Dropout in the network.
        epochs: Maximum number of passes over the training cases.
        patience: Passes without a lower log loss after which training stops.
        batch_size: Cases per optimisation step.
        learning_rate: Learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        class_weights: `none`, or `balanced` to give both outcomes the same total weight in the loss, which raises the
            predicted probabilities of a rare outcome.
    """

    periods: Annotated[int, Field(ge=1, le=400)] = 48
    hidden_dim: Annotated[int, Field(ge=1)] = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    epochs: Annotated[int, Field(ge=1)] = 30
    patience: Annotated[int, Field(ge=1)] = 5
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-3
    class_weights: Literal["none", "balanced"] = "none"
