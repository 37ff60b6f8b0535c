"""The expert's output in the prompt: what stands there, where, and that the policy reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from eagbench.api import STYLES, RecordText, RecordTextParams, StageRun, UserError, prompt_text
from eagbench_plugins.baselines.expert_output import ExpertOutput, output_of_fitted
from eagbench_plugins.baselines.hybrid_prompt import HybridPrompt
from tests.builders import make_case, make_cohort_cases

FEATURES = ("lactate", "ph", "sodium")
CASES = make_cohort_cases(
    [
        make_case({"lactate": [4.0, 5.0], "ph": [7.1, 7.2], "sodium": [np.nan, np.nan]}, case_id="a"),
        make_case({"lactate": [np.nan], "ph": [np.nan], "sodium": [np.nan]}, case_id="b"),
    ],
    FEATURES,
)
OUTPUT = ExpertOutput(np.array([0.3749, 1.0]), np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]), FEATURES)


def method(**params) -> HybridPrompt:
    return HybridPrompt(HybridPrompt.Params(expert="logistic_regression", **params))


@pytest.mark.parametrize("style", sorted(STYLES))
def test_full_prompts_say_what_the_expert_says(style: str) -> None:
    text = RecordText(RecordTextParams())
    first, second = method(style=style).prompts(CASES, OUTPUT, text)
    # Sodium weighs most and was not measured.
    assert "gave this patient a probability of 0.37.\n" in first.text
    assert "the heaviest first: ph, lactate.\n" in first.text
    assert "probability of 1.00.\n" in second.text
    assert "heaviest" not in second.text
    # But for these lines the prompt is the one that `prompt` writes.
    kept = [line for line in first.text.split("\n") if "prediction model" not in line and "heaviest" not in line]
    assert "\n".join(kept) == prompt_text(STYLES[style], CASES[0], CASES, text)


def test_short_prompts_name_as_many_features_as_asked_for() -> None:
    text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(CASES)
    (first, _) = method(features=1).prompts(CASES, OUTPUT, text)
    assert "\nexpert=0.37\nexpert_features=ph\nHow likely" in first.text
    (first, _) = method(features=0).prompts(CASES, OUTPUT, text)
    assert "\nexpert=0.37\nHow likely" in first.text


def test_a_feature_without_weight_is_not_named() -> None:
    text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(CASES)
    output = ExpertOutput(np.array([0.3749, 1.0]), np.array([[0.0, 1.0, 0.0], [0.6, 0.3, 0.1]]), FEATURES)
    (first, _) = method().prompts(CASES, output, text)
    assert "\nexpert_features=ph\nHow likely" in first.text


def test_the_spans_are_those_of_the_record() -> None:
    text = RecordText(RecordTextParams())
    prompt = method().prompts(CASES, OUTPUT, text)[0]
    for name, line in text.feature_texts(CASES[0], CASES).items():
        start, end = prompt.spans[name]
        assert prompt.text[start:end] == line


def test_the_frozen_policy_answers_and_its_attention_is_measured(stages, tmp_path: Path) -> None:
    cases = stages.held_out.cases
    inputs = {name: getattr(stages, name) for name in ("policy", "record_text", "expert")}

    def predict(attention: bool):
        run = StageRun({"answer": {"mode": "expectation"}, "attention": attention}, inputs, 0, tmp_path)
        return method(max_new_tokens=100).predict(cases, run), run

    predictions, run = predict(False)
    assert [p.case_id for p in predictions] == list(cases.case_ids)
    assert np.mean([p.probability is None for p in predictions]) < 0.3
    assert run.costs["generated_tokens"] == sum(p.trajectories[0].generated_tokens for p in predictions) > 0
    measured = predict(True)[0]
    assert [p.probability for p in measured] == [p.probability for p in predictions]
    attentions = [p.trajectories[0].attention for p in measured if p.trajectories[0].attention is not None]
    assert len(attentions) > len(cases) / 2
    assert all(sum(a.values()) == pytest.approx(1) and set(a) <= set(cases.feature_names) for a in attentions)


def test_the_expert_is_asked_about_the_record_that_the_policy_reads(stages) -> None:
    cases = stages.held_out.cases
    emptied = cases.with_items([replace(case, values=np.full_like(case.values, np.nan)) for case in cases])
    of_record = output_of_fitted("logistic_regression", stages.expert, cases)
    of_nothing = output_of_fitted("logistic_regression", stages.expert, emptied)
    assert of_record.probability.std() > 0.1
    assert abs(of_record.probability - of_nothing.probability).max() > 0.1
    prompt = method().prompts(emptied, of_nothing, stages.text)[0].text
    assert f"expert={of_nothing.probability[0]:.2f}" in prompt


def test_a_prompt_that_is_longer_than_the_policy_reads_is_refused(stages, tmp_path: Path) -> None:
    inputs = {name: getattr(stages, name) for name in ("policy", "record_text", "expert")}
    run = StageRun({"answer": {"mode": "greedy"}, "attention": False}, inputs, 0, tmp_path)
    with pytest.raises(UserError, match="the policy reads 1024"):
        method(max_new_tokens=1020).predict(stages.held_out.cases, run)


def test_a_hybrid_without_an_expert_is_refused() -> None:
    with pytest.raises(ValidationError, match="expert"):
        HybridPrompt.Params.model_validate({})
