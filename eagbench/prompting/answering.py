"""Predictions of an opened policy for cases. Every method that prompts uses these functions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.config.settings import AnswerMode
from eagbench.contracts.answers import NOT_ATTEMPTED, TOO_LONG, Prediction, Trajectory
from eagbench.contracts.language_models import Generation, LanguageModel, Sampling
from eagbench.contracts.records import Case, Cases
from eagbench.contracts.rules import ContractError, check_generations
from eagbench.contracts.stage_counts import count_tokens
from eagbench.contracts.stages import StageRun, no_progress
from eagbench.prompting.answers import FeatureVocabulary, read_answer, text_up_to_answer
from eagbench.prompting.attention import with_attention
from eagbench.prompting.prior import read_prior
from eagbench.prompting.prompt_recording import current_recorder
from eagbench.prompting.record import RecordText
from eagbench.prompting.styles import Style, level_texts, prompt_text

# An expectation is rounded to the precision that the formats ask for. A policy that knows nothing of the outcome still
# differs between cases in the fourth decimal (by the record's length, for one); ranked by that, it would score an AUROC
# far from 0.5 on either side, and every improvement over it would be misstated.
_DECIMALS = 2

# Cases asked before all others. If no answer among them can be read, the others are not asked.
_FIRST = 32

# Cases per call of the model: enough for full batches, and few enough that a local model still holds their prompts when
# the levels of their answers are read.
_CHUNK = 64


def open_policy(folder: Path) -> LanguageModel:
    """Open the model in a policy folder with the component that its `policy.json` names.

    Args:
        folder: Contains `policy.json` (`{"name": ..., "params": ...}`) and what the policy's `prepare`, or a training
            stage, wrote.
    """
    from eagbench.registry.blame import remember
    from eagbench.registry.plugins import answerable, load_registry, owner

    recorder = current_recorder()
    if recorder is not None:
        return recorder
    described = json.loads((folder / "policy.json").read_text(encoding="utf-8"))
    with answerable("policy", described["name"]):
        policy = load_registry().create("policy", described["name"], described["params"])
        model: LanguageModel = policy.open(folder)
    remember(type(model), owner("policy", described["name"]))
    return model


def answer_with_policy(cases: Cases, run: StageRun, style: Style, max_new_tokens: int) -> list[Prediction]:
    """Make the predictions of a method whose policy answers alone, without an expert or labels.

    Args:
        cases: N cases, unlabelled.
        run: Its inputs contain the folders `policy` and `record_text`. Its parameters contain the benchmark's `answer`
            and `attention`: whether to measure the policy's attention. The generated tokens are added to its costs.
        style: The answer format.
        max_new_tokens: Maximum number of new tokens per text.

    Returns:
        N predictions in the order of the cases, with `prior_corrected` if the policy was trained on answers.
    """
    model = open_policy(run.inputs["policy"])
    record_text = RecordText.load(run.inputs["record_text"])
    predictions = answer_cases(
        model,
        cases,
        record_text,
        style,
        AnswerMode.model_validate(run.params["answer"]),
        seed=run.seed,
        max_new_tokens=max_new_tokens,
        progress=run.progress,
    )
    if run.params["attention"] and all(p.trajectories for p in predictions):
        predictions = with_attention(predictions, model, cases, record_text, style, run.progress)
    run.add_cost("generated_tokens", sum(t.generated_tokens for p in predictions for t in p.trajectories))
    prior = read_prior(run.inputs["policy"])
    if prior is None:
        return predictions
    return [
        p if p.probability is None else replace(p, prior_corrected=prior.corrected(p.probability)) for p in predictions
    ]


def answer_cases(
    model: LanguageModel,
    cases: Cases,
    record_text: RecordText,
    style: Style,
    answer: AnswerMode,
    *,
    seed: int,
    max_new_tokens: int,
    progress: Callable[..., Iterable[Any]] = no_progress,
) -> list[Prediction]:
    """Ask a policy about every case and parse its answers.

    Args:
        model: The opened policy.
        cases: N cases, unlabelled.
        record_text: The fitted record text.
        style: The answer format.
        answer: How to get the probability.
        seed: Sampling seed (`mean_of_n`).
        max_new_tokens: Maximum number of new tokens per text.
        progress: Wraps the loop with a progress bar.

    Returns:
        N predictions in the order of the cases, each with its trajectories. The probability is None if no answer could
        be parsed.
    """
    question = Question(model, style, answer, seed, max_new_tokens)
    return answer_prompts(question, cases, [prompt_text(style, case, cases, record_text) for case in cases], progress)


@dataclass(frozen=True, slots=True)
class Question:
    """How a policy is asked.

    Attributes:
        model: The opened policy.
        style: The format of the answers.
        answer: How to get the probability.
        seed: Sampling seed (`mean_of_n`).
        max_new_tokens: Maximum number of new tokens per text.
    """

    model: LanguageModel
    style: Style
    answer: AnswerMode
    seed: int
    max_new_tokens: int


def answer_prompts(
    question: Question,
    cases: Cases,
    prompts: Sequence[str],
    progress: Callable[..., Iterable[Any]] = no_progress,
) -> list[Prediction]:
    """Ask a policy about every case with the method's own prompts, and parse its answers as `answer_cases` does.

    Examples are few-shot prompts, or prompts with an expert's output. With more than 32 cases, 32 drawn by the seed are
    asked first; if no answer among them can be read, the others are `not_attempted`.
    """
    ask = {"greedy": _greedy, "mean_of_n": _mean_of_n, "expectation": _expectation}[question.answer.mode]
    asking = _Asking(question, FeatureVocabulary(cases.features))
    first = _asked_first(prompts, question.seed)
    others = [[i for i in range(start, start + _CHUNK) if i not in first] for start in range(0, len(cases), _CHUNK)]
    groups = [[i for i in group if i < len(cases)] for group in (sorted(first), *others)]
    groups = [group for group in groups if group]
    found: dict[int, Prediction] = {}
    for at in progress(groups, "answer", len(groups)):
        if first and found and all(prediction.probability is None for prediction in found.values()):
            found |= {i: Prediction(cases.items[i].case_id, None, NOT_ATTEMPTED) for i in at}
        else:
            found |= zip(at, ask(asking, [cases.items[i] for i in at], [prompts[i] for i in at]), strict=True)
    return [found[i] for i in range(len(cases))]


def _asked_first(prompts: Sequence[str], seed: int) -> frozenset[int]:
    """Draw the positions of the cases asked first; none if so many cases are all there are.

    Texts do not depend on which prompts are asked together, except that a prompt that occurs twice in a call is sampled
    apart. So cases that share a prompt are not drawn.
    """
    count = Counter(prompts)
    single = [i for i, prompt in enumerate(prompts) if count[prompt] == 1]
    if len(prompts) <= _FIRST or len(single) < _FIRST:
        return frozenset()
    return frozenset(np.random.default_rng([seed, _FIRST]).choice(single, _FIRST, replace=False).tolist())


@dataclass(frozen=True, slots=True)
class _Asking:
    """A question, and the names of the features that answers to it may cite."""

    question: Question
    vocabulary: FeatureVocabulary

    def write(self, prompts: Sequence[str], temperature: float, stop: str) -> list[Generation]:
        """Generate texts with the model, and check that they follow its contract."""
        model = self.question.model
        sampling = Sampling(self.question.max_new_tokens, temperature=temperature, stop=(stop,))
        texts = model.generate(prompts, sampling, self.question.seed)
        count_tokens(sum(text.tokens for text in texts))
        from eagbench.registry.blame import owner_of

        try:
            check_generations(prompts, sampling, texts)
        except ContractError as error:
            raise error.of(owner_of(type(model))) from error
        return texts

    def read(self, case: Case, text: Generation) -> Trajectory:
        """Parse an answer strictly."""
        return read_answer(self.question.style, case, text.text, text.tokens, self.vocabulary, text.thought)


def _greedy(asking: _Asking, cases: Sequence[Case], prompts: Sequence[str]) -> list[Prediction]:
    texts = asking.write(prompts, 0.0, asking.question.style.answer_close)
    predictions = []
    for case, text in zip(cases, texts, strict=True):
        trajectory = asking.read(case, text)
        predictions.append(_prediction(asking.question.answer, trajectory.probability, [trajectory], text.too_long))
    return predictions


def _mean_of_n(asking: _Asking, cases: Sequence[Case], prompts: Sequence[str]) -> list[Prediction]:
    answer = asking.question.answer
    repeated = [prompt for prompt in prompts for _ in range(answer.samples)]
    texts = asking.write(repeated, answer.temperature, asking.question.style.answer_close)
    predictions = []
    for i, case in enumerate(cases):
        written = texts[i * answer.samples : (i + 1) * answer.samples]
        trajectories = [asking.read(case, text) for text in written]
        parsed = [t.probability for t in trajectories if t.probability is not None]
        too_long = any(text.too_long for text in written)
        predictions.append(_prediction(answer, float(np.mean(parsed)) if parsed else None, trajectories, too_long))
    return predictions


def _expectation(asking: _Asking, cases: Sequence[Case], prompts: Sequence[str]) -> list[Prediction]:
    texts = asking.write(prompts, 0.0, asking.question.style.answer_open)
    begun = [text_up_to_answer(asking.question.style, text.text, text.thought) for text in texts]
    asked = [i for i, text in enumerate(begun) if text is not None]
    expectation: dict[int, float] = {}
    if asked:
        levels = np.array(asking.question.answer.levels)  # (L,)
        weights = asking.question.model.continuation_probabilities(
            [prompts[i] for i in asked], [begun[i] or "" for i in asked], level_texts(levels)
        )  # (len(asked), L)
        values = (round(float(value), _DECIMALS) for value in weights @ levels)
        expectation = {i: value for i, value in zip(asked, values, strict=True) if not np.isnan(value)}
    predictions = []
    for i, (case, text) in enumerate(zip(cases, texts, strict=True)):
        # The text ends where the answer would begin; the answer is the expectation.
        trajectory = replace(asking.read(case, text), probability=expectation.get(i))
        too_long = text.too_long or (begun[i] is not None and i not in expectation)
        predictions.append(_prediction(asking.question.answer, trajectory.probability, [trajectory], too_long))
    return predictions


def _prediction(
    answer: AnswerMode, probability: float | None, trajectories: Sequence[Trajectory], too_long: bool
) -> Prediction:
    """Make the prediction of a case from its texts.

    The cited features are those of the first text, because a mean of lists is meaningless.
    """
    reasons = {TOO_LONG: 1.0} if too_long and probability is None else {}
    return Prediction(
        case_id=trajectories[0].case_id,
        probability=probability,
        answer_mode=answer.mode,
        cited_features=trajectories[0].cited_features,
        trajectories=tuple(trajectories),
        extras={"generated_tokens": float(sum(t.generated_tokens for t in trajectories)), **reasons},
    )
