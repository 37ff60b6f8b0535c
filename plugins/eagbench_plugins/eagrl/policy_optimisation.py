"""Stage `policy_optimisation`: the policy samples groups of trajectories on training cases and learns from the reward.

The output is a policy folder (`policy.json` and the files of model and tokenizer) with three more files.
`curves.jsonl` has one line per generated batch and is written during training. `prior.json` holds the share of positive
cases in those batches, for the prior correction of the answers. `summary.json` summarises the training in a few
numbers.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from functools import partial

import numpy as np
from packaging.specifiers import SpecifierSet

from eagbench.api import (
    FeatureVocabulary,
    IntArray,
    RecordText,
    StageRun,
    UserError,
    prompt_with_spans,
    read_salience,
    style_of,
    write_prior,
)
from eagbench_plugins.eagrl.fitted_reward import fitted_reward
from eagbench_plugins.eagrl.optimisation import JudgedCase, Optimisation
from eagbench_plugins.eagrl.trajectories import chosen_cases

# The versions of TRL whose loss reads its clip bounds as `adaptive_clipping` sets them.
TRL_VERSIONS = SpecifierSet(">=1.16,<1.17")


def optimise_policy(run: StageRun) -> None:
    """Train the policy and write the policy folder.

    Params: `reward` (identity of the component), `style`, `max_new_tokens`, `max_training_cases`, `optimisation`.
    Inputs: `training`, `policy`, `record_text`, and `salience` if the method has an expert.

    Raises:
        UserError: The installed version of TRL is not supported, or the policy's weights are not on this machine.
    """
    check_trl()
    from eagbench_plugins.eagrl.policy_optimisation_training import train
    from eagbench_plugins.eagrl.trained_policy import free_trainer

    params = Optimisation.model_validate(run.params["optimisation"])
    judged = _judged_cases(run)
    labels = np.array([case.label for case in judged])
    order = case_order(labels, params.steps, params.cases, balance=params.balance, seed=run.seed)
    train(judged, order, params, run)
    free_trainer()
    shutil.copyfile(run.inputs["policy"] / "policy.json", run.out / "policy.json")
    # The last stage that taught answers counts, so the prior of the policy of Stage I is not handed on.
    write_prior(run.out, labels[order].ravel(), run.inputs["training"].train.labels)


def check_trl() -> None:
    """Refuse a version of TRL whose loss may ignore the clip bounds set here.

    Raises:
        UserError: The installed version is not in `TRL_VERSIONS`.
    """
    version = importlib.metadata.version("trl")
    if version not in TRL_VERSIONS:
        raise UserError(
            f"TRL {version} is installed; adaptive clipping was made for, and tested with, TRL {TRL_VERSIONS}",
            where="stage policy_optimisation",
            hint=f'pip install "trl{TRL_VERSIONS}"',
        )


def case_order(labels: IntArray, steps: int, cases: int, *, balance: bool, seed: int) -> IntArray:
    """Choose the cases of each generated batch.

    Cases are drawn from one shuffled order after another, so that no case is used again before all others were used.

    Args:
        labels: Label per case, (N,).
        steps: Number of batches.
        cases: Cases per batch.
        balance: Fill half of each batch with positive cases; each class then has its own shuffled orders.
        seed: Seed of the orders.

    Returns:
        Positions of cases, (steps, cases).

    Raises:
        UserError: There are too few cases, or too few of one class with `balance`, to fill a batch with different ones.
    """
    rng = np.random.default_rng([seed, 1])
    groups = [np.flatnonzero(labels == value) for value in (1, 0)] if balance else [np.arange(len(labels))]
    sizes = [cases // 2, cases - cases // 2] if balance else [cases]
    if any(len(group) < size for group, size in zip(groups, sizes, strict=True)):
        raise UserError(
            f"{len(labels)} training cases, {int(labels.sum())} of them positive, can't fill a generated batch of "
            f"{cases} different cases" + (" with half of them positive" if balance else ""),
            where="stage policy_optimisation",
            hint="lower `cases`, or set `balance: false`",
        )
    columns = []
    for group, size in zip(groups, sizes, strict=True):
        rounds = -(-steps * size // len(group))
        taken = np.concatenate([rng.permutation(group) for _ in range(rounds)])[: steps * size]
        columns.append(taken.reshape(steps, size))
    return np.concatenate(columns, axis=1)


def _judged_cases(run: StageRun) -> list[JudgedCase]:
    train = chosen_cases(run.inputs["training"].train, run.params["max_training_cases"], run.seed)
    record_text = RecordText.load(run.inputs["record_text"])
    salience = read_salience(run.inputs["salience"]) if "salience" in run.inputs else None
    style = style_of(run.params["style"])
    judged = partial(
        JudgedCase,
        reward=fitted_reward(run, train.cases),
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
