"""`hybrid_embedding`: train a head on the frozen policy's representation of a case together with the expert's.

The policy reads the prompt of a case, and the mean of its last hidden states over the prompt's tokens represents the
text. The expert's representation is the log odds of its probability, and its salience. A logistic regression is trained
on both. Neither the policy nor the expert is trained further. This is one of the hybrid approaches that EAG-RL (Fang et
al., arXiv 2508.13579) contrasts with training the language model itself.

Our choices where no source specifies them, numbered:
1. For training cases the expert's representation is cross-fitted. An expert that has seen a case's label repeats it,
   and the head would learn to trust the expert too much. For asked cases it comes from the expert fitted on all
   training cases.
2. The three blocks (text, log odds, salience) have the same weight: each column's weight in the penalty
   (`logistic_head`) is one over the square root of its block's number of columns. The policy contributes a few thousand
   columns and the expert's probability only one; a single penalty would shrink that one as much as each of the others.
3. The penalty is chosen inside the training cases; tuning cases are not used. Cross-fitting is not nested in that
   choice: the expert's output on the cases used to fit a candidate comes from experts that saw the labels used to judge
   the candidate. This affects only one number, the penalty, and no held-out case.
4. A case of another domain has other features. The expert reads those that all domains share, matched by name.
5. The policy reads the whole prompt, including question and format, in its chat template if it has one.
6. The expert's representation is what every expert provides, probability and salience, not a hidden state, because tree
   ensembles have none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from eagbench.api import (
    Cases,
    FloatArray,
    MethodPlan,
    MethodTraits,
    Prediction,
    PromptSpec,
    RecordText,
    StageNode,
    StageRun,
    StrictParams,
    TrainingData,
    style_of,
)
from eagbench_plugins.baselines.expert_output import (
    ComponentSpec,
    ExpertOutput,
    output_of_fitted,
    output_on_training,
)
from eagbench_plugins.baselines.logistic_head import LogisticHead
from eagbench_plugins.baselines.prompt_embedding import embedding_stage, encode, read_embedding

_FEATURES = "features.json"


class HybridEmbedding:
    """A head on the policy's hidden state and the expert's output."""

    name: ClassVar[str] = "hybrid_embedding"
    traits = MethodTraits(reads="text")

    class Params(StrictParams):
        """Parameters.

        Attributes:
            expert: The expert.
            style: The style of the prompt that the policy reads; the policy generates nothing.
        """

        expert: ComponentSpec
        style: PromptSpec = "vanilla"

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declare the policy's embedding of the training cases, and the head on it and the cross-fitted expert."""
        use = plan.component("expert", self.params.expert, "expert")
        head = plan.stage(
            kind="head",
            label=f"policy and {use.name}",
            function=fit_head,
            params={},
            inputs={
                "training": plan.training,
                "embedding": embedding_stage(plan, self.params.style),
                "salience": plan.cross_fitted_salience(use),
            },
        )
        return {
            "policy": plan.policy(),
            "record_text": plan.record_text(),
            "expert": plan.expert(use),
            "head": head,
        }

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Predict with the head."""
        head = LogisticHead.load(run.inputs["head"])
        record_text = RecordText.load(run.inputs["record_text"])
        embedding = encode(cases, run.inputs["policy"], record_text, style_of(self.params.style), run.progress)
        output = output_of_fitted(self.params.expert, run.inputs["expert"], cases)
        trained_on = json.loads((run.inputs["head"] / _FEATURES).read_text(encoding="utf-8"))
        probability = head.predict(_joined(embedding, output.for_features(trained_on))[0])
        return [Prediction(case_id, float(p), "model") for case_id, p in zip(cases.case_ids, probability, strict=True)]


def fit_head(run: StageRun) -> None:
    """Run the stage `head`: fit the head on embedding, cross-fitted expert output and labels of the training cases."""
    data: TrainingData = run.inputs["training"]
    cases, labels = data.train.cases, data.train.labels
    embedding = read_embedding(run.inputs["embedding"], cases)
    output = output_on_training(run.inputs["salience"], cases)
    columns, weights = _joined(embedding, output)
    LogisticHead.fit(columns, weights, labels, cases.patient_ids, run.seed).save(run.out)
    (run.out / _FEATURES).write_text(json.dumps(list(output.features)), encoding="utf-8")


def _joined(embedding: FloatArray, output: ExpertOutput) -> tuple[FloatArray, FloatArray]:
    """Join the head's columns (N, D + 1 + F), and compute each column's weight in the penalty (D + 1 + F,)."""
    blocks = [embedding.astype(np.float64), output.log_odds[:, None], output.salience]
    weights = np.concatenate([np.full(block.shape[1], block.shape[1] ** -0.5) for block in blocks])
    return np.concatenate(blocks, axis=1), weights
