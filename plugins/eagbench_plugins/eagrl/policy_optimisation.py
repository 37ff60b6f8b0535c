"""Stage `policy_optimisation`: the policy samples groups of trajectories on training cases and learns from the reward.

The folder it writes is a policy folder: `policy.json`, the model's files and the tokenizer's, and beside them
`curves.jsonl`, one line per generated batch, written while it trains, and `prior.json`, the share of positive cases in
those batches, for the correction of the answers. `summary.json` says in a few numbers what the training did.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from packaging.specifiers import SpecifierSet
from pydantic import Field, model_validator

from eagbench.api import (
    STYLES,
    Case,
    FeatureVocabulary,
    IntArray,
    RecordText,
    Reward,
    Span,
    StageRun,
    StrictParams,
    Style,
    Trajectory,
    UserError,
    create_component,
    prompt_with_spans,
    read_answer,
    read_salience,
    write_prior,
)
from eagbench_plugins.eagrl.lora import LoRA
from eagbench_plugins.eagrl.trajectories import chosen_cases

# The versions of TRL whose loss reads its clip bounds as `adaptive_clipping` sets them.
TRL_VERSIONS = SpecifierSet(">=1.16,<1.17")


class Optimisation(StrictParams):
    """How the policy learns from its own trajectories. The defaults suit the policy `tiny`.

    Attributes:
        steps: Generated batches. Each is followed by `passes` x `mini_batches` optimisation steps.
        cases: Cases per generated batch.
        group_size: Trajectories per case (G).
        passes: Passes over each generated batch.
        mini_batches: Optimisation steps per pass.
        accumulate: Parts into which a mini-batch is divided to save memory.
        learning_rate: Learning rate (AdamW, constant).
        beta: Weight of the KL divergence from the policy that training began with; with 0 it is not measured.
        temperature: Temperature of the sampled trajectories.
        loss: `grpo`, the mean over trajectories of the mean over their tokens, or `dapo`, the mean over all tokens.
        adaptive_clipping: Up-clipping by the entropy of the feature tokens, in [0.2, 0.4].
        epsilon_high: Upper clip bound without adaptive clipping; the lower one is 0.2.
        standardise_advantages: Divide a group's advantages by its standard deviation.
        answer_weight: Weight of the answer's tokens in the loss, all others weighing 1 (the weights are divided by
            their mean); 1 is the paper's loss. See the parameter of the same name of Stage I.
        drop_truncated: Learn nothing from a trajectory that was cut at `max_new_tokens`.
        resample_rounds: How often, at most, groups whose rewards do not differ are replaced by those of other cases of
            the same class (dynamic sampling); 0 leaves them in.
        balance: Half of the cases of each generated batch are positive; else cases come as often as they occur.
        max_gradient_norm: Gradients are scaled down to this norm.
        activation_checkpointing: Compute activations again in the backward pass, to save memory.
        checkpoint_every: Generated batches between checkpoints, from which a killed training goes on.
        lora: Train adapters only; None trains all weights.
    """

    steps: int = Field(default=30, ge=1)
    cases: int = Field(default=16, ge=1)
    group_size: int = Field(default=8, ge=2)
    passes: int = Field(default=3, ge=1)
    mini_batches: int = Field(default=4, ge=1)
    accumulate: int = Field(default=1, ge=1)
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

    @property
    def steps_per_batch(self) -> int:
        """Optimisation steps that follow each generated batch."""
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
    def _batch_divides(self) -> Optimisation:
        parts = self.mini_batches * self.accumulate
        if self.cases * self.group_size % parts:
            raise ValueError(
                f"the {self.cases} x {self.group_size} trajectories of a generated batch do not divide into "
                f"{parts} equal parts (mini_batches x accumulate)"
            )
        return self


@dataclass(frozen=True, slots=True)
class JudgedCase:
    """A training case, what is asked of the policy, and how its answer is judged.

    Attributes:
        case: The case.
        label: Its label.
        prompt: The prompt.
        feature_spans: Where each feature's text stands in the prompt.
        salience: The cross-fitted expert's weight per feature, None if the method has no expert.
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

    def read(self, text: str, tokens: int) -> Trajectory:
        """The trajectory up to the end of its answer, as in prediction."""
        end = text.find(self.style.answer_close)
        written = text if end < 0 else text[: end + len(self.style.answer_close)]
        return read_answer(self.style, self.case, written, tokens, self.vocabulary)

    def judge(self, trajectory: Trajectory) -> Mapping[str, float]:
        """The reward's parts."""
        return self.reward(self.case, self.label, trajectory, self.salience)


def optimise_policy(run: StageRun) -> None:
    """Trains and writes the policy folder.

    Params: `reward` (identity of the component), `style`, `max_new_tokens`, `max_training_cases`, `optimisation`.
    Inputs: `training`, `policy`, `record_text`, and `salience` if the method has an expert.

    Raises:
        UserError: The version of TRL is not one that this was made for, or the policy's weights are not here.
    """
    check_trl()
    from eagbench_plugins.eagrl.policy_optimisation_training import train

    params = Optimisation.model_validate(run.params["optimisation"])
    judged = _judged_cases(run)
    labels = np.array([case.label for case in judged])
    order = case_order(labels, params.steps, params.cases, balance=params.balance, seed=run.seed)
    train(judged, order, params, run)
    shutil.copyfile(run.inputs["policy"] / "policy.json", run.out / "policy.json")
    # The last stage that taught answers counts, so the prior of the policy of Stage I is not handed on.
    write_prior(run.out, labels[order].ravel(), run.inputs["training"].train.labels)


def check_trl() -> None:
    """Refuses a version of TRL whose loss may not read the bounds that are set for it."""
    version = importlib.metadata.version("trl")
    if version not in TRL_VERSIONS:
        raise UserError(
            f"TRL {version} is installed; adaptive clipping was made for, and tested with, TRL {TRL_VERSIONS}",
            where="stage policy_optimisation",
            mend=f'pip install "trl{TRL_VERSIONS}"',
        )


def case_order(labels: IntArray, steps: int, cases: int, *, balance: bool, seed: int) -> IntArray:
    """Which cases each generated batch is about.

    Cases are taken in one shuffled order after another, so that none comes again before all others did.

    Args:
        labels: Label per case, (N,).
        steps: Number of batches.
        cases: Cases per batch.
        balance: Fill half of each batch from the positive cases, each class in shuffled orders of its own.
        seed: Seed of the orders.

    Returns:
        Positions of cases, (steps, cases).

    Raises:
        UserError: A batch has more cases than there are, or a class to balance has none.
    """
    rng = np.random.default_rng([seed, 1])
    groups = [np.flatnonzero(labels == value) for value in (1, 0)] if balance else [np.arange(len(labels))]
    sizes = [cases // 2, cases - cases // 2] if balance else [cases]
    if any(len(group) < size for group, size in zip(groups, sizes, strict=True)):
        raise UserError(
            f"{len(labels)} training cases, {int(labels.sum())} of them positive, can't fill a generated batch of "
            f"{cases} different cases" + (" with half of them positive" if balance else ""),
            where="stage policy_optimisation",
            mend="lower `cases`, or set `balance: false`",
        )
    columns = []
    for group, size in zip(groups, sizes, strict=True):
        rounds = -(-steps * size // len(group))
        taken = np.concatenate([rng.permutation(group) for _ in range(rounds)])[: steps * size]
        columns.append(taken.reshape(steps, size))
    return np.concatenate(columns, axis=1)


class Reserve:
    """The cases that may take a place in one generated batch: all but its own, each once, in a shuffled order.

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
        """The next case of the same class; None if there is none left."""
        return next(self._of_label[int(self._labels[position])], None)


def _judged_cases(run: StageRun) -> list[JudgedCase]:
    train = chosen_cases(run.inputs["training"].train, run.params["max_training_cases"], run.seed)
    record_text = RecordText.load(run.inputs["record_text"])
    salience = read_salience(run.inputs["salience"]) if "salience" in run.inputs else None
    style = STYLES[run.params["style"]]
    judged = partial(
        JudgedCase,
        reward=create_component(run.params["reward"]),
        style=style,
        vocabulary=FeatureVocabulary(train.cases.features),
    )
    return [
        judged(
            case=case,
            label=label,
            prompt=prompt,
            feature_spans=spans,
            salience=None if salience is None else salience[case.case_id],
        )
        for case, label in zip(train.cases, train.labels.tolist(), strict=True)
        for prompt, spans in [prompt_with_spans(style, case, train.cases, record_text)]
    ]
