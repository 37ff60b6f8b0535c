"""`hybrid_prior`: use the frozen policy's beliefs about the features as a prior for a statistical expert.

The method follows the idea of DearLLM (Xu et al., "DearLLM: enhancing personalized healthcare via large language
models-deduced feature correlations", AAAI 2025). Relevances become weights, and correlations become a graph. The policy
answers once per task, about features and never about a case (`elicitation`). Its answers enter the expert
`prior_expert`; see there for the formulas. Prediction does not use the policy: the expert reads columns.

Departures from DearLLM, numbered:
1. DearLLM deduces a graph per patient, from the conditional perplexity of the policy's text given the patient's
   background. Here the policy answers once per task, and each answer is its expectation over declared levels.
2. DearLLM's expert is a graph network with frequency-aware pooling over features. Here it is a logistic regression on
   statistics of the window, smoothed over the graph once; it has few enough parameters to see what the prior does.
3. DearLLM has no relevance per feature; here it divides the penalty.
4. The policy rates only how strongly two features are related; the direction comes from the training cases.

A prior is only as good as the policy's knowledge. `tiny` knows formats but nothing about medicine, so its prior is
noise. With `tiny`, this method shows how much a wrong prior harms a logistic regression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from eagbench.api import Cases, MethodPlan, MethodTraits, Prediction, StageNode, StageRun, StrictParams
from eagbench_plugins.baselines.elicitation import elicit
from eagbench_plugins.baselines.prior_expert import PriorExpert, fit_prior_expert


class HybridPrior:
    """A logistic regression with the policy's prior."""

    name: ClassVar[str] = "hybrid_prior"
    traits = MethodTraits(reads="columns")

    class Params(StrictParams):
        """Parameters of the expert and of the prior.

        Attributes:
            periods: Number of equal parts of the observation window; the expert reads statistics of the last value in
                each part.
            smoothing: Share of a feature's column that comes from its neighbours in the graph; 0 disables the graph.
            neighbours: Number of neighbours of a feature: those most closely related according to the policy.
        """

        periods: int = Field(default=12, ge=1)
        smoothing: float = Field(default=0.25, ge=0, lt=1)
        neighbours: int = Field(default=5, ge=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declare the policy's prior, then the expert that uses it."""
        prior = plan.stage(
            kind="feature_prior",
            label="relevances and correlations",
            function=elicit,
            params={},
            inputs={"cases": plan.training_cases, "policy": plan.policy()},
        )
        expert = plan.stage(
            kind="prior_expert",
            label="logistic regression",
            function=fit_prior_expert,
            params=self.params.model_dump(mode="json"),
            inputs={"training": plan.training, "prior": prior},
        )
        return {"expert": expert}

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Predict with the expert."""
        probability = PriorExpert.load(run.inputs["expert"]).predict(cases)
        return [Prediction(case_id, float(p), "model") for case_id, p in zip(cases.case_ids, probability, strict=True)]
