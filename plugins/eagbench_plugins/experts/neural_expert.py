"""Shared base of the neural experts: inputs by name, one training loop, salience, files.

A neural expert defines how its network is built (`_network`). If it reads more than values and static facts, it also
defines its inputs (`_inputs`). torch and PyHealth are imported only when an expert is fitted, loaded or used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from eagbench.api import Cases, FloatArray, LabelledCases, StageRun, TrainingData, UserError
from eagbench_plugins.experts.channels import Channels, by_partition
from eagbench_plugins.experts.neural_params import NeuralParams
from eagbench_plugins.experts.salience import as_salience
from eagbench_plugins.experts.tuning import is_large_enough, patient_folds

if TYPE_CHECKING:
    from eagbench_plugins.experts.neural_network import ExpertNetwork


class NeuralExpert:
    """A network on standardised channels and static facts.

    The log loss decides how long it trains. It is measured on the tuning cases if there are at least 100 with at least
    20 events and 20 non-events; the weights of the best epoch are kept. Otherwise it is measured in five-fold
    cross-validation by patient inside the training cases, and the final fit on all of them trains for the median best
    epoch. With fewer than 20 training patients of either outcome, it trains for `epochs`.
    """

    name: ClassVar[str]

    def __init__(self, params: NeuralParams) -> None:
        self.params = params

    def _network(self, n_features: int, n_static: int) -> ExpertNetwork:
        """Build a network with initial weights drawn from torch's generator."""
        raise NotImplementedError

    def _inputs(self, cases: Cases) -> tuple[FloatArray, ...]:
        """Return the network's inputs for N cases: channels (N, P, F) and static facts (N, S), float32."""
        return self.channels.values(cases, self.params.periods), self.channels.static(cases)

    def _all_inputs(self, cases: Cases) -> tuple[FloatArray, ...]:
        """Compute the inputs for cases that need not fit into memory."""
        return by_partition(self._inputs, cases)

    def fit(self, data: TrainingData, run: StageRun) -> None:
        """Fit on the training cases; an interrupted fit resumes after its last finished epoch."""
        if len(np.unique(data.train.labels)) < 2:
            raise UserError(
                f"{self.name} needs both outcomes among its training cases",
                hint="Use more patients, or another split seed.",
            )
        if is_large_enough(data.tuning):
            self._train(data.train, data.tuning, self.params, run)
        else:
            epochs = self._cross_validated_epochs(data.train, run)
            self._train(data.train, None, self.params.model_copy(update={"epochs": epochs}), run)

    def _cross_validated_epochs(self, cases: LabelledCases, run: StageRun) -> int:
        """Compute the median over folds of the epoch with the lowest log loss on the left-out patients."""
        folds = patient_folds(cases, run.seed)
        if folds is None:
            return self.params.epochs
        best = []
        for k, (remaining, left_out) in enumerate(folds):
            folder = run.checkpoints / f"fold{k}"
            folder.mkdir(exist_ok=True)
            part = StageRun(params=run.params, inputs={}, seed=run.seed, out=folder, progress=run.progress)
            best.append(self._train(cases.select(remaining), cases.select(left_out), self.params, part))
            run.add_cost("epochs", part.costs["epochs"])
        return int(np.median(best))

    def _train(
        self, fitting: LabelledCases, stopping: LabelledCases | None, params: NeuralParams, run: StageRun
    ) -> int:
        """Fit scales and network on `fitting`; return the epoch whose weights are kept, 1 for the first."""
        from eagbench_plugins.experts.neural_training import LabelledTensors, train

        self.channels = Channels.fit(fitting.cases, self.params.periods)

        def tensors(labelled: LabelledCases) -> LabelledTensors:
            return LabelledTensors.of(self._all_inputs(labelled.cases), labelled.labels.astype(np.float32))

        self.network, epoch = train(
            self.name,
            params,
            lambda: self._network(len(self.channels.features), len(self.channels.static_names)),
            tensors(fitting),
            None if stopping is None else tensors(stopping),
            run,
        )
        return epoch

    def predict(self, cases: Cases) -> FloatArray:
        """Predict the probability of the outcome. Shape (N,)."""
        from eagbench_plugins.experts.neural_network import probabilities

        return probabilities(self.network, self._all_inputs(cases))

    def salience(self, cases: Cases) -> FloatArray:
        """Compute the network's normalised weight per feature. Shape (N, F)."""
        from eagbench_plugins.experts.neural_network import feature_weights

        return as_salience(feature_weights(self.network, self._all_inputs(cases)), self.channels.features, cases)

    def save(self, folder: Path) -> None:
        """Write `NAME.safetensors` (weights and scales) and `NAME.json` (names)."""
        from eagbench_plugins.experts.neural_network import save_network

        save_network(self.network, self.channels, folder / f"{self.name}.safetensors")
        names = {"features": self.channels.features, "static_names": self.channels.static_names}
        (folder / f"{self.name}.json").write_text(json.dumps(names, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, params: Any, folder: Path) -> Self:
        """Read the fitted expert that `save` wrote."""
        from eagbench_plugins.experts.neural_network import load_network

        names = json.loads((folder / f"{cls.name}.json").read_text(encoding="utf-8"))
        features, static_names = tuple(names["features"]), tuple(names["static_names"])
        expert = cls(params)
        expert.network, expert.channels = load_network(
            lambda: expert._network(len(features), len(static_names)),
            features,
            static_names,
            folder / f"{cls.name}.safetensors",
        )
        return expert

    if TYPE_CHECKING:
        channels: Channels
        network: ExpertNetwork
