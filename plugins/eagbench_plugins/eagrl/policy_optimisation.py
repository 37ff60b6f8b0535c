"""Stage `policy_optimisation`: the policy samples groups of trajectories on training cases and learns from the reward.

The folder it writes is a policy folder: `policy.json`, the model's files and the tokenizer's, and beside them
`curves.jsonl`, one line per generated batch, written while it trains, and `prior.json`, the share of positive cases in
those batches, for the correction of the answers. `summary.json` says in a few numbers what the training did.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from functools import partial

import numpy as np
from packaging.specifiers import SpecifierSet

from eagbench.api import (
    STYLES,
    FeatureVocabulary,
    IntArray,
    RecordText,
    StageRun,
    UserError,
    create_component,
    prompt_with_spans,
    read_salience,
    write_prior,
)
from eagbench_plugins.eagrl.optimisation import JudgedCase, Optimisation
from eagbench_plugins.eagrl.trajectories import chosen_cases

# The versions of TRL whose loss reads its clip bounds as `adaptive_clipping` sets them.
TRL_VERSIONS = SpecifierSet(">=1.16,<1.17")


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
            hint=f'pip install "trl{TRL_VERSIONS}"',
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
