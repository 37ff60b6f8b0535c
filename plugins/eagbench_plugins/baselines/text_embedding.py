"""`text_embedding`: a logistic regression on the frozen policy's hidden state of the prompt, without an expert.

It shows what the policy's reading of the text alone gives, before the policy is trained and without its having to write
an answer. Training the policy should give more.

Our choices, numbered:
1. The hidden states of the last layer are averaged over the prompt's tokens, as in `hybrid_embedding`: an untrained
   policy has gathered little of a long record in its last token, which prepares the first token of the answer.
2. The prompt is whole, with question and format, in the policy's chat template if it has one.
3. Columns are standardised on the training cases, and all have the same penalty, chosen inside the training cases
   (`penalised_logistic`); tuning cases are not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from eagbench.api import (
    Cases,
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
from eagbench_plugins.baselines.logistic_head import LogisticHead
from eagbench_plugins.baselines.prompt_embedding import embedding_stage, encode, read_embedding


class TextEmbedding:
    """A head on the policy's hidden state."""

    name: ClassVar[str] = "text_embedding"
    traits = MethodTraits(reads="text")

    class Params(StrictParams):
        """Parameters.

        Attributes:
            style: The style of the prompt that the policy reads; the policy generates nothing.
        """

        style: PromptSpec = "vanilla"

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declare the policy's embedding of the training cases, and the head on it."""
        head = plan.stage(
            kind="head",
            label="policy",
            function=fit_text_head,
            params={},
            inputs={"training": plan.training, "embedding": embedding_stage(plan, self.params.style)},
        )
        return {"policy": plan.policy(), "record_text": plan.record_text(), "head": head}

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Predict with the head."""
        record_text = RecordText.load(run.inputs["record_text"])
        style = style_of(self.params.style)
        embedding = encode(cases, run.inputs["policy"], record_text, style, run.progress)
        probability = LogisticHead.load(run.inputs["head"]).predict(embedding.astype(np.float64))
        return [Prediction(case_id, float(p), "model") for case_id, p in zip(cases.case_ids, probability, strict=True)]


def fit_text_head(run: StageRun) -> None:
    """Run the stage `head`: fit the head on embedding and labels of the training cases."""
    data: TrainingData = run.inputs["training"]
    cases, labels = data.train.cases, data.train.labels
    columns = read_embedding(run.inputs["embedding"], cases).astype(np.float64)  # (N, D)
    LogisticHead.fit(columns, np.ones(columns.shape[1]), labels, cases.patient_ids, run.seed).save(run.out)
