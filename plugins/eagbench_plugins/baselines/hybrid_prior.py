"""`hybrid_prior`: what the frozen policy believes of the features enters a statistical expert as a prior.

After DearLLM (Xu et al., "DearLLM: enhancing personalized healthcare via large language models-deduced feature
correlations", AAAI 2025), as METHOD.md, section 5 sums it up: relevances as weights, correlations as a graph. The
policy is asked once, about features and never about a case (`elicitation`); the expert that its answers enter is
`prior_expert`, whose formulas stand there. At prediction time there is no policy: the expert reads columns.

Departures from DearLLM, numbered:
1. It deduces a graph per patient, from the conditional perplexity of the policy's text given the patient's background.
   Here the policy is asked once per task, and its answer is its expectation over declared levels.
2. Its expert is a graph network with pooling that knows how frequent a feature is. Here it is a logistic regression on
   statistics of the window, smoothed over the graph once: few enough parameters to see what the prior does.
3. The relevance per feature is not DearLLM's; it divides the penalty.
4. The policy is asked how strongly two features are related, and the direction is taken from the training cases.

A prior is as good as the policy's knowledge. `tiny` knows formats and nothing of medicine: its prior is noise, and with
it this method says how much a logistic regression suffers from a wrong prior.
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
        """How the prior enters.

        Attributes:
            periods: Equal parts of the observation window; the expert reads statistics of the last value in each.
            smoothing: Share of a feature's column that comes from its neighbours in the graph; 0 leaves the graph out.
            neighbours: Neighbours of a feature: those most closely related in the policy's view.
        """

        periods: int = Field(default=12, ge=1)
        smoothing: float = Field(default=0.25, ge=0, lt=1)
        neighbours: int = Field(default=5, ge=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """The policy's prior, then the expert that it enters."""
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
        """The expert's probabilities."""
        probability = PriorExpert.load(run.inputs["expert"]).predict(cases)
        return [Prediction(case_id, float(p), "model") for case_id, p in zip(cases.case_ids, probability, strict=True)]
