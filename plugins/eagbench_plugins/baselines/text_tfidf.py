"""`text_tfidf`: a logistic regression on the words of the prompt, weighted by TF-IDF. It needs no language model.

It shows what the text alone gives to a reader who knows no language and no medicine: words and pairs of words, counted.
Numbers are words as they are written, so 3.5 and 3.6 have nothing in common; a policy that reads numbers should be
better.

Our choices, numbered:
1. The text is what the method `prompt` shows in the same style, question and format included. What every prompt has in
   common separates no cases.
2. `prompt_words` says what a word is. Terms are single words and pairs, of at least two training cases.
3. Terms and document frequencies use no label and come from all training cases; the penalty is chosen on them by
   cross-validation by patient (`penalised_logistic`). Tuning cases are not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from eagbench.api import (
    Cases,
    FloatArray,
    IntArray,
    MethodPlan,
    MethodTraits,
    Prediction,
    PromptSpec,
    RecordText,
    StageNode,
    StageRun,
    StrictParams,
    TrainingData,
    load_arrays,
    prompt_text,
    save_arrays,
    style_of,
)
from eagbench_plugins.baselines.penalised_logistic import (
    cross_validated_log_loss,
    fewest_patients,
    fit_best,
    fit_penalised,
    logistic,
)
from eagbench_plugins.baselines.prompt_words import PromptWords

_FILE = "head.safetensors"


class TextTfidf:
    """A logistic regression on TF-IDF of the prompt."""

    name: ClassVar[str] = "text_tfidf"
    traits = MethodTraits(reads="text")

    class Params(StrictParams):
        """Parameters.

        Attributes:
            style: The style of the prompt.
            max_words: Longest run of words that is a term: 1 for single words, 2 for pairs as well.
        """

        style: PromptSpec = "vanilla"
        max_words: int = Field(default=2, ge=1, le=5)

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declare the stage that fits terms and head."""
        record_text = plan.record_text()
        words = plan.stage(
            kind="words",
            label="TF-IDF",
            function=fit_words,
            params=self.params.model_dump(mode="json"),
            inputs={"training": plan.training, "record_text": record_text},
        )
        return {"record_text": record_text, "words": words}

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Predict from the words of each case's prompt."""
        if not len(cases):
            return []
        record_text = RecordText.load(run.inputs["record_text"])
        texts = [prompt_text(style_of(self.params.style), case, cases, record_text) for case in cases]
        columns = PromptWords.load(run.inputs["words"]).columns(texts)  # (N, T)
        head = WordsHead.load(run.inputs["words"])
        probability = logistic(columns @ head.coefficient + head.intercept)
        return [Prediction(case_id, float(p), "model") for case_id, p in zip(cases.case_ids, probability, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class WordsHead:
    """A logistic regression on T terms.

    Attributes:
        coefficient: Shape (T,).
        intercept: Log odds of a text without any term.
        inverse_penalty: The chosen C.
        log_loss: Cross-validated mean log loss of each C.
    """

    coefficient: FloatArray
    intercept: float
    inverse_penalty: float
    log_loss: Mapping[float, float]

    def save(self, folder: Path) -> None:
        """Write `head.safetensors`."""
        losses = np.array(list(self.log_loss.items()))  # (C, 2)
        about = {"intercept": self.intercept, "inverse_penalty": self.inverse_penalty}
        save_arrays(folder / _FILE, {"coefficient": self.coefficient, "log_loss": losses}, about)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays, about = load_arrays(folder / _FILE)
        losses = {float(c): float(loss) for c, loss in arrays["log_loss"]}
        return cls(arrays["coefficient"], about["intercept"], about["inverse_penalty"], losses)


def fit_words(run: StageRun) -> None:
    """Run the stage `words`: fit terms and head on the training cases.

    Raises:
        UserError: Fewer than two patients have the outcome, or fewer than two do not have it; or no fit converges.
    """
    data: TrainingData = run.inputs["training"]
    cases, labels = data.train.cases, data.train.labels
    fewest_patients(labels, cases.patient_ids)
    record_text = RecordText.load(run.inputs["record_text"])
    texts = [prompt_text(style_of(run.params["style"]), case, cases, record_text) for case in cases]
    words = PromptWords.fit(texts, run.params["max_words"])
    columns = words.columns(texts)  # (N, T)

    def log_odds(c: float, rest: IntArray, asked: IntArray) -> FloatArray:
        coefficient, intercept = fit_penalised(columns[rest], labels[rest], c)
        return np.asarray(columns[asked] @ coefficient + intercept)

    def fitted(c: float) -> WordsHead:
        return WordsHead(*fit_penalised(columns, labels, c), c, losses)

    losses = cross_validated_log_loss(log_odds, labels, cases.patient_ids, run.seed)
    head = fit_best(losses, fitted)
    words.save(run.out)
    head.save(run.out)
