"""ConCare: the deep-learning expert of the EAG-RL paper, and its teacher of attention.

Ma et al., "ConCare: Personalized Clinical Feature Embedding via Capturing the Healthcare Context", AAAI 2020, by
PyHealth 2.1's `ConCareLayer` with one channel per clinical feature. torch and PyHealth are loaded when it is fitted or
asked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from eagbench.api import Cases, FloatArray, StageRun, StrictParams, TrainingData, UserError
from eagbench_plugins.experts.channels import Channels
from eagbench_plugins.experts.salience import as_salience
from eagbench_plugins.experts.tuning import is_large_enough, patient_folds

if TYPE_CHECKING:
    from eagbench_plugins.experts.concare_network import ConCareNetwork


class ConCare:
    """One GRU per feature, self-attention over features, and a final attention whose weights are the salience.

    Training stops when the log loss stops falling: on the tuning cases if these are at least 100 with 20 events, else
    on a fifth of the training patients (which the weights then do not see), else, with fewer than 20 events in
    training, after `epochs`. The weights of the best epoch are kept.
    """

    name: ClassVar[str] = "concare"

    class Params(StrictParams):
        """Parameters.

        Attributes:
            periods: Time steps that the window is divided into (12 of 48 hours: 4 hours each).
            hidden_dim: Width of each GRU and of the attention; a multiple of `heads`.
            heads: Heads of the self-attention over features.
            dropout: Dropout in the layer.
            epochs: Largest number of passes over the training cases.
            patience: Passes without a lower log loss after which training stops.
            batch_size: Cases per optimisation step.
            learning_rate: Of AdamW.
            weight_decay: Of AdamW.
            decorrelation: Weight of the layer's DeCov loss, which keeps the features' contexts apart; 1 as in PyHealth.
            class_weights: `none`, or `balanced`: both outcomes weigh the same in the loss, which raises the predicted
                probabilities of a rare outcome.
        """

        periods: Annotated[int, Field(ge=1, le=400)] = 12
        hidden_dim: Annotated[int, Field(ge=1)] = 32
        heads: Annotated[int, Field(ge=1)] = 4
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
        epochs: Annotated[int, Field(ge=1)] = 30
        patience: Annotated[int, Field(ge=1)] = 5
        batch_size: Annotated[int, Field(ge=1)] = 64
        learning_rate: Annotated[float, Field(gt=0)] = 3e-3
        weight_decay: Annotated[float, Field(ge=0)] = 1e-3
        decorrelation: Annotated[float, Field(ge=0)] = 1.0
        class_weights: Literal["none", "balanced"] = "none"

        @model_validator(mode="after")
        def _heads_divide_width(self) -> Self:
            if self.hidden_dim % self.heads:
                raise ValueError(f"hidden_dim {self.hidden_dim} is not a multiple of heads {self.heads}")
            return self

    def __init__(self, params: Params) -> None:
        self.params = params

    def fit(self, data: TrainingData, run: StageRun) -> None:
        """Fits on the training cases; a fit that was killed goes on after its last finished epoch."""
        from eagbench_plugins.experts.concare_training import LabelledTensors, train

        if len(np.unique(data.train.labels)) < 2:
            raise UserError(
                "concare needs both outcomes among its training cases",
                mend="Use more patients, or another split seed.",
            )
        fitting, stopping = data.train, data.tuning if is_large_enough(data.tuning) else None
        if stopping is None and (folds := patient_folds(data.train, run.seed)) is not None:
            remaining, left_out = folds[0]
            fitting, stopping = data.train.select(remaining), data.train.select(left_out)
        self.channels = Channels.fit(fitting.cases, self.params.periods)

        def tensors(cases: Cases, labels: FloatArray) -> LabelledTensors:
            return LabelledTensors.of(*self._inputs(cases), labels)

        self.network = train(
            self.params,
            tensors(fitting.cases, fitting.labels.astype(np.float32)),
            None if stopping is None else tensors(stopping.cases, stopping.labels.astype(np.float32)),
            run,
        )

    def predict(self, cases: Cases) -> FloatArray:
        """Probability of the outcome. Shape (N,)."""
        from eagbench_plugins.experts.concare_network import apply

        return apply(self.network, *self._inputs(cases)).probability

    def salience(self, cases: Cases) -> FloatArray:
        """Weights of the final attention on the channels of features, normalised. Shape (N, F).

        The layer appends the static facts as one more channel; its weight is left out.
        """
        from eagbench_plugins.experts.concare_network import apply

        return as_salience(apply(self.network, *self._inputs(cases)).attention, self.channels.features, cases)

    def save(self, folder: Path) -> None:
        """Writes `concare.safetensors` (weights and scales) and `concare.json` (names)."""
        from eagbench_plugins.experts.concare_network import save_network

        save_network(self.network, self.channels, folder / "concare.safetensors")
        names = {"features": self.channels.features, "static_names": self.channels.static_names}
        (folder / "concare.json").write_text(json.dumps(names, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, params: Params, folder: Path) -> Self:
        """The fitted expert that `save` wrote."""
        from eagbench_plugins.experts.concare_network import load_network

        names = json.loads((folder / "concare.json").read_text(encoding="utf-8"))
        expert = cls(params)
        expert.network, expert.channels = load_network(
            params, tuple(names["features"]), tuple(names["static_names"]), folder / "concare.safetensors"
        )
        return expert

    def _inputs(self, cases: Cases) -> tuple[FloatArray, FloatArray]:
        """Channels (N, P, F) and static facts (N, S), float32."""
        return self.channels.values(cases, self.params.periods), self.channels.static(cases)

    if TYPE_CHECKING:
        channels: Channels
        network: ConCareNetwork
