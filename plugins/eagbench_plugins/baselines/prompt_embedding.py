"""The frozen policy's representation of a case: the mean of its last hidden states over the prompt's tokens.

Methods with the same style share the stage `embedding`, which embeds the training cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.api import (
    Cases,
    FloatArray,
    MethodPlan,
    PromptSpec,
    RecordText,
    StageNode,
    StageRun,
    Style,
    TextEncoder,
    UserError,
    load_arrays,
    open_policy,
    prompt_text,
    save_arrays,
    style_of,
)

# Cases per call of the model, so that a progress bar moves.
_CHUNK = 64
_FILE = "embedding.safetensors"


def embedding_stage(plan: MethodPlan, style: PromptSpec) -> StageNode:
    """Declare the stage that embeds the training cases."""
    return plan.stage(
        kind="embedding",
        label="training cases",
        function=encode_training_cases,
        params={"style": style},
        inputs={"cases": plan.training_cases, "policy": plan.policy(), "record_text": plan.record_text()},
    )


def encode_training_cases(run: StageRun) -> None:
    """Run the stage `embedding`: write the policy's representation of each training case, without its label."""
    cases: Cases = run.inputs["cases"]
    record_text = RecordText.load(run.inputs["record_text"])
    style = style_of(run.params["style"])
    embedding = encode(cases, run.inputs["policy"], record_text, style, run.progress)
    save_arrays(run.out / _FILE, {"embedding": embedding}, {"case_ids": list(cases.case_ids)})


def read_embedding(folder: Path, cases: Cases) -> FloatArray:
    """Read the rows of these training cases from what `encode_training_cases` wrote. Shape (N, D), float32."""
    arrays, about = load_arrays(folder / _FILE)
    position = {name: i for i, name in enumerate(about["case_ids"])}
    return np.asarray(arrays["embedding"][[position[case_id] for case_id in cases.case_ids]])


def encode(
    cases: Cases,
    policy: Path,
    record_text: RecordText,
    style: Style,
    progress: Callable[..., Iterable[Any]],
) -> FloatArray:
    """Compute the policy's representation of each case.

    Returns:
        Shape (N, D), float32.

    Raises:
        UserError: The policy does not provide hidden states.
    """
    model = open_policy(policy)
    if not isinstance(model, TextEncoder):
        raise UserError(
            "this policy does not give its hidden states, and this method reads them",
            where=f"policy {type(model).__name__}",
            hint="use the policy `tiny`, `smollm2` or `hf`, or a method that needs text only: `text_tfidf`, "
            "`hybrid_prompt`",
        )
    parts: list[FloatArray] = [model.encode([])]
    starts = range(0, len(cases), _CHUNK)
    for start in progress(starts, "encode", len(starts)):
        chunk = cases.items[start : start + _CHUNK]
        parts.append(model.encode([prompt_text(style, case, cases, record_text) for case in chunk]))
    return np.concatenate(parts)
