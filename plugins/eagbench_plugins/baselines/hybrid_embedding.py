"""`hybrid_embedding`: the frozen policy's reading of a case and the expert's joined in a trained head.

The policy reads the prompt of a case; the mean of its last hidden states over the prompt's tokens joins the expert's
representation (the log odds of its probability, and its salience), and a logistic regression is trained on both
(METHOD.md, section 5). Neither the policy nor the expert is trained further.

Choices that no source makes for us, numbered:
1. Of training cases the expert's representation is cross-fitted: an expert that has seen a case's label repeats it, and
   the head would learn to trust it too much. Of asked cases it is that of the expert fitted on all training cases.
2. The three blocks (text, log odds, salience) weigh the same: each column's weight in the penalty (`logistic_head`) is
   one over the square root of its block's number of columns. A policy has a few thousand columns and the expert's
   answer is one; under one penalty for all, the answer would be shrunk as much as each of the thousands.
3. The penalty is chosen inside the training cases; tuning cases are not used. The cross-fitting is not nested in that
   choice: the expert's output for the cases that a penalty is fitted on comes from experts that saw the labels it is
   judged by. That bears on one number, the penalty, and on no held-out case.
4. A case of another domain has other features: the expert reads those that all domains share, by name.
5. What is read is the whole prompt, question and format included, in the policy's chat template if it has one.
6. The expert's representation is what every expert gives, probability and salience, and not a hidden state: trees have
   none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eagbench.api import (
    STYLES,
    Cases,
    FloatArray,
    MethodPlan,
    MethodTraits,
    Prediction,
    RecordText,
    StageNode,
    StageRun,
    StrictParams,
    Style,
    StyleName,
    TextEncoder,
    TrainingData,
    UserError,
    load_arrays,
    open_policy,
    prompt_text,
    save_arrays,
)
from eagbench_plugins.baselines.expert_output import (
    ComponentSpec,
    ExpertOutput,
    output_of_fitted,
    output_on_training,
)
from eagbench_plugins.baselines.logistic_head import LogisticHead

# Cases per call of the model, so that a progress bar moves.
_CHUNK = 256
_FEATURES = "features.json"
_EMBEDDING = "embedding.safetensors"


class HybridEmbedding:
    """A head on the policy's hidden state and the expert's output."""

    name: ClassVar[str] = "hybrid_embedding"
    traits = MethodTraits(reads="text")

    class Params(StrictParams):
        """What is joined.

        Attributes:
            expert: The expert.
            style: The prompt that the policy reads; it writes nothing.
        """

        expert: ComponentSpec
        style: StyleName = "vanilla"

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """The policy reads the training cases; the head learns from that and the cross-fitted expert."""
        use = plan.component("expert", self.params.expert, "expert")
        policy, record_text = plan.policy(), plan.record_text()
        embedding = plan.stage(
            kind="embedding",
            label="training cases",
            function=encode_training_cases,
            params={"style": self.params.style},
            inputs={"cases": plan.training_cases, "policy": policy, "record_text": record_text},
        )
        head = plan.stage(
            kind="head",
            label=f"policy and {use.name}",
            function=fit_head,
            params={},
            inputs={
                "training": plan.training,
                "embedding": embedding,
                "salience": plan.cross_fitted_salience(use),
            },
        )
        return {"policy": policy, "record_text": record_text, "expert": plan.expert(use), "head": head}

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """The head's probabilities."""
        head = LogisticHead.load(run.inputs["head"])
        record_text = RecordText.load(run.inputs["record_text"])
        embedding = encode(cases, run.inputs["policy"], record_text, STYLES[self.params.style], run.progress)
        output = output_of_fitted(self.params.expert, run.inputs["expert"], cases)
        trained_on = json.loads((run.inputs["head"] / _FEATURES).read_text(encoding="utf-8"))
        probability = head.predict(_joined(embedding, output.for_features(trained_on))[0])
        return [Prediction(case_id, float(p), "model") for case_id, p in zip(cases.case_ids, probability, strict=True)]


def encode_training_cases(run: StageRun) -> None:
    """The stage `embedding`: writes the policy's representation of each training case, which it is given unlabelled."""
    cases: Cases = run.inputs["cases"]
    record_text = RecordText.load(run.inputs["record_text"])
    style = STYLES[run.params["style"]]
    embedding = encode(cases, run.inputs["policy"], record_text, style, run.progress)
    save_arrays(run.out / _EMBEDDING, {"embedding": embedding}, {"case_ids": list(cases.case_ids)})


def fit_head(run: StageRun) -> None:
    """The stage `head`: fits on training cases and what is known of them without their label."""
    data: TrainingData = run.inputs["training"]
    cases, labels = data.train.cases, data.train.labels
    arrays, about = load_arrays(run.inputs["embedding"] / _EMBEDDING)
    position = {name: i for i, name in enumerate(about["case_ids"])}
    embedding = arrays["embedding"][[position[case_id] for case_id in cases.case_ids]]
    output = output_on_training(run.inputs["salience"], cases)
    columns, weights = _joined(embedding, output)
    LogisticHead.fit(columns, weights, labels, cases.patient_ids, run.seed).save(run.out)
    (run.out / _FEATURES).write_text(json.dumps(list(output.features)), encoding="utf-8")


def encode(
    cases: Cases,
    policy: Path,
    record_text: RecordText,
    style: Style,
    progress: Callable[..., Iterable[Any]],
) -> FloatArray:
    """The policy's representation of each case.

    Returns:
        Shape (N, D), float32.

    Raises:
        UserError: The policy gives no hidden states.
    """
    model = open_policy(policy)
    if not isinstance(model, TextEncoder):
        raise UserError(
            "this policy does not give its hidden states, and hybrid_embedding reads them",
            where=f"policy {type(model).__name__}",
            hint="use the policy `tiny` or `hf`, or the method `hybrid_prompt`, which needs text only",
        )
    parts: list[FloatArray] = [model.encode([])]
    starts = range(0, len(cases), _CHUNK)
    for start in progress(starts, "encode", len(starts)):
        chunk = cases.items[start : start + _CHUNK]
        parts.append(model.encode([prompt_text(style, case, cases, record_text) for case in chunk]))
    return np.concatenate(parts)


def _joined(embedding: FloatArray, output: ExpertOutput) -> tuple[FloatArray, FloatArray]:
    """The head's columns (N, D + 1 + F), and each column's weight in the penalty (D + 1 + F,)."""
    blocks = [embedding.astype(np.float64), output.log_odds[:, None], output.salience]
    weights = np.concatenate([np.full(block.shape[1], block.shape[1] ** -0.5) for block in blocks])
    return np.concatenate(blocks, axis=1), weights
