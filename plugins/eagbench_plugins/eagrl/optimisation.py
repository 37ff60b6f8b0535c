"""Parameters of policy optimisation in a benchmark file, and the cases whose answers it judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from eagbench.api import (
    Case,
    FeatureVocabulary,
    Generation,
    IntArray,
    Reward,
    Span,
    StrictParams,
    Style,
    Trajectory,
    read_answer,
)
from eagbench_plugins.eagrl.lora import LoRA
from eagbench_plugins.eagrl.vllm_params import VLLMRollouts


class Optimisation(StrictParams):
    """Parameters of policy optimisation. The defaults suit the policy `tiny`.

    Attributes:
        steps: Generated batches. Each is followed by `passes` x `mini_batches` optimisation steps.
        cases: Cases per generated batch.
        group_size: Trajectories per case (G).
        passes: Passes over each generated batch.
        mini_batches: Optimisation steps per pass.
        accumulate: Number of parts that a mini-batch is split into to save memory (gradient accumulation); None takes
            as few as the policy's `memory_gb` allows.
        learning_rate: Learning rate (AdamW, constant).
        beta: Weight of the KL divergence from the initial policy; with 0 it is not measured.
        temperature: Temperature of the sampled trajectories.
        loss: `grpo`, the mean over trajectories of the mean over their tokens, or `dapo`, the mean over all tokens.
        adaptive_clipping: Set the upper clip bound by the entropy of the feature tokens, in [0.2, 0.4].
        epsilon_high: Upper clip bound without adaptive clipping; the lower one is 0.2.
        standardise_advantages: Divide a group's advantages by its standard deviation.
        answer_weight: Weight of the answer's tokens in the loss; all other tokens have weight 1 (the weights are
            divided by their mean). 1 is the paper's loss. See the Stage I parameter of the same name.
        drop_truncated: Learn nothing from a trajectory that was cut at `max_new_tokens`.
        resample_rounds: Maximum number of rounds that replace groups whose rewards do not differ by those of other
            cases of the same class (dynamic sampling); 0 leaves them in.
        balance: Make half of the cases of each generated batch positive; otherwise they follow the training prevalence.
        max_gradient_norm: Scale gradients down to this norm.
        activation_checkpointing: Recompute activations in the backward pass, to save memory.
        checkpoint_every: Generated batches between checkpoints, from which an interrupted training resumes.
        lora: Train adapters only; None trains all weights.
        rollouts: A vLLM server that writes the trajectories; None writes them here.
    """

    steps: int = Field(default=30, ge=1)
    cases: int = Field(default=16, ge=1)
    group_size: int = Field(default=8, ge=2)
    passes: int = Field(default=3, ge=1)
    mini_batches: int = Field(default=4, ge=1)
    accumulate: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=4e-4, gt=0)
    beta: float = Field(default=0.05, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    loss: Literal["grpo", "dapo"] = "grpo"
    adaptive_clipping: bool = True
    epsilon_high: float = Field(default=0.2, gt=0)
    standardise_advantages: bool = True
    answer_weight: float = Field(default=1.0, gt=0)
    drop_truncated: bool = False
    resample_rounds: int = Field(default=0, ge=0)
    balance: bool = True
    max_gradient_norm: float = Field(default=1.0, gt=0)
    activation_checkpointing: bool = False
    checkpoint_every: int = Field(default=10, ge=1)
    lora: LoRA | None = None
    rollouts: VLLMRollouts | None = None

    @property
    def steps_per_batch(self) -> int:
        """Number of optimisation steps after each generated batch."""
        return self.passes * self.mini_batches

    @model_validator(mode="after")
    def _clips_can_act(self) -> Optimisation:
        if self.adaptive_clipping and self.steps_per_batch < 2:
            raise ValueError(
                "with passes 1 and mini_batches 1 each generated batch serves one step, in which the policy still is "
                "the one that sampled it: no clip can act. Raise passes or mini_batches, or set adaptive_clipping: "
                "false"
            )
        return self

    @model_validator(mode="after")
    def _bound_is_used(self) -> Optimisation:
        if self.adaptive_clipping and self.epsilon_high != 0.2:
            raise ValueError("epsilon_high is the bound without adaptive clipping; set adaptive_clipping: false")
        return self

    @model_validator(mode="after")
    def _adapters_are_handed_over(self) -> Optimisation:
        if self.rollouts is not None and self.lora is None:
            raise ValueError("a vLLM server is handed adapters, and without lora there are none; add `lora: {}`")
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> Optimisation:
        parts = self.mini_batches * (self.accumulate or 1)
        if self.cases * self.group_size % parts:
            raise ValueError(
                f"the {self.cases} x {self.group_size} trajectories of a generated batch do not divide into "
                f"{parts} equal parts (mini_batches x accumulate)"
            )
        return self


@dataclass(frozen=True, slots=True)
class JudgedCase:
    """A training case, its prompt, and the means to judge the answer.

    Attributes:
        case: The case.
        label: Its label.
        prompt: The prompt.
        feature_spans: Character span of each feature's text in the prompt.
        salience: The cross-fitted expert's weight per feature; None if the method has no expert.
        reward: The reward.
        style: The format of the answer.
        vocabulary: Names of the features.
    """

    case: Case
    label: int
    prompt: str
    feature_spans: Mapping[str, Span]
    salience: Mapping[str, float] | None
    reward: Reward
    style: Style
    vocabulary: FeatureVocabulary

    def read(self, written: Generation) -> Trajectory:
        """Read the trajectory up to the end of its answer, as in prediction."""
        end = written.text.find(self.style.answer_close)
        text = written.text if end < 0 else written.text[: end + len(self.style.answer_close)]
        return read_answer(self.style, self.case, text, written.tokens, self.vocabulary, written.thought)

    def judge(self, trajectory: Trajectory) -> Mapping[str, float]:
        """Compute the reward's parts."""
        return self.reward(self.case, self.label, trajectory, self.salience)


class Reserve:
    """The replacement cases for one generated batch: all cases outside it, each once, in a shuffled order.

    Args:
        labels: Label per case, (N,).
        batch: Positions of the batch's cases; with the seed they determine the order.
        seed: Seed of the order.
    """

    def __init__(self, labels: IntArray, batch: Sequence[int], seed: int) -> None:
        others = np.setdiff1d(np.arange(len(labels)), batch)
        order = np.random.default_rng([seed, 2, *batch]).permutation(others)
        self._labels = labels
        self._of_label = {label: iter(order[labels[order] == label].tolist()) for label in (0, 1)}

    def instead_of(self, position: int) -> int | None:
        """Return the position of the next case of the same class; None if there is none left."""
        return next(self._of_label[int(self._labels[position])], None)
