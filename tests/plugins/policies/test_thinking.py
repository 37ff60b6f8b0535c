"""Local models that think: a draft in the thought stops nothing and is not read."""

from __future__ import annotations

from functools import cache

import pytest

from eagbench.api import (
    STYLES,
    AnswerMode,
    Question,
    Sampling,
    TokenThoughts,
    UserError,
    answer_prompts,
    measure_attention,
)
from eagbench_plugins.policies.transformers_model import TransformersModel
from tests.builders import make_cases
from tests.thinking_models import END, FAMILIES, PROMPT, memorised, thinking, tokenizer_of

STYLE = STYLES["vanilla"]
ANSWER = "<answer>0.20</answer>"
DRAFT = "As <answer>0.90</answer>? No."
STOP = (STYLE.answer_close,)
CASES = make_cases(2, {"lactate": 1.0}, seed=0).cases
every_family = pytest.mark.parametrize("family", FAMILIES)


@cache
def model_of(family: str) -> TransformersModel:
    return thinking(family, DRAFT, ANSWER)


def answered(model: TransformersModel, mode: str, style: str = "vanilla", max_new_tokens: int = 200):
    answer = AnswerMode(mode=mode, samples=2, temperature=0.01)
    return answer_prompts(Question(model, STYLES[style], answer, 0, max_new_tokens), CASES, [PROMPT] * 2)


@every_family
def test_writing_stops_at_the_answer_and_not_at_the_draft(family: str) -> None:
    [written] = model_of(family).generate([PROMPT], Sampling(200, stop=STOP), 0)
    before, after = FAMILIES[family].thinks
    assert written.text.strip() == ANSWER
    assert written.thought is not None
    assert written.verbatim == f"{before}{DRAFT}{after}{ANSWER}"


@every_family
@pytest.mark.parametrize("style", ["vanilla", "think_answer"])
@pytest.mark.parametrize("mode", ["greedy", "mean_of_n"])
def test_the_answer_after_the_thought_is_scored(family: str, style: str, mode: str) -> None:
    for prediction in answered(model_of(family), mode, style):
        assert prediction.probability == pytest.approx(0.2)
        assert all(DRAFT in trajectory.verbatim for trajectory in prediction.trajectories)


@every_family
def test_a_thought_cut_off_at_the_limit_is_unparsed_and_counted(family: str) -> None:
    begun = FAMILIES[family].thinks[0] + DRAFT  # the draft is written, the thought is not closed
    limit = len(tokenizer_of(FAMILIES[family])(begun, add_special_tokens=False)["input_ids"])
    for prediction in answered(model_of(family), "greedy", max_new_tokens=limit):
        assert prediction.probability is None
        assert prediction.trajectories[0].truncated_thought
        assert "<answer>0.90</answer>" in prediction.trajectories[0].thought


@every_family
def test_an_expectation_begins_after_the_closed_thought(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = model_of(family), []
    real = model.continuation_probabilities

    def watched(prompts, written, candidates):
        asked.extend(written)
        return real(prompts, written, candidates)

    monkeypatch.setattr(model, "continuation_probabilities", watched)
    before, after = FAMILIES[family].thinks
    for prediction in answered(model, "expectation"):
        assert prediction.probability == pytest.approx(0.2, abs=0.05)
    assert asked == [f"{before}{DRAFT}{after}<answer>"] * 2
    assert [p.probability for p in answered(model, "expectation", max_new_tokens=30)] == [None, None]


def test_attention_is_measured_at_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = model_of("deepseek_r1"), []
    real = model.attention_to

    def watched(prompts, written, answers, spans, layers=0.5):
        asked.append((list(written), list(answers)))
        return real(prompts, written, answers, spans, layers)

    monkeypatch.setattr(model, "attention_to", watched)
    [prediction, _] = answered(model, "greedy")
    [trajectory] = prediction.trajectories
    measure_attention(model, [PROMPT], [{"lactate": (0, 3)}], [trajectory.text], STYLE, [trajectory.thought])
    assert asked == [([f"{DRAFT}\n</think>\n\n<answer>"], ["0.20"])]


def test_a_begun_answer_within_the_templates_thought_is_refused() -> None:
    model = model_of("deepseek_r1")
    with pytest.raises(UserError, match="chat template opens a thought"):
        model.generate([PROMPT], Sampling(9), 0, ["<Subquestion>"])
    with pytest.raises(UserError, match="chat template opens a thought"):
        model.continuation_probabilities([PROMPT], [""], ["Yes", "No"])
    for family in ("qwen3", "gpt_oss", "no_template"):
        [written] = model_of(family).generate([PROMPT], Sampling(9), 0, ["<Subquestion>"])
        assert written.thought is None


def test_a_template_told_not_to_think_opens_no_thought() -> None:
    closed = "<think>\n\n</think>\n\n{% endif %}{% endif %}"
    family = FAMILIES["qwen3"]
    tokenizer = tokenizer_of(family)
    tokenizer.chat_template = family.template.replace("enable_thinking is defined and not enable_thinking", "true")
    assert closed in tokenizer.chat_template
    model = TransformersModel(model_of("qwen3").model, tokenizer, 1)
    assert model.as_input("x").endswith("<think>\n\n</think>\n\n")
    assert model.thoughts.begins.ends_at is None


@pytest.mark.parametrize("family", ["qwen3", "deepseek_r1"])
def test_a_closing_tag_spelt_in_ordinary_tokens_closes_nothing(family: str) -> None:
    tokenizer = tokenizer_of(FAMILIES[family])

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    spelt = [*ids("</thi"), *ids("nk>")]
    assert tokenizer.decode(spelt) == "</think>"
    before = ids("<think>") if family == "qwen3" else []
    tokens = [*before, *ids("I end with "), *spelt, *ids(DRAFT), *ids("</think>"), *ids(ANSWER)]
    model = memorised(FAMILIES[family], tokens)
    [written] = model.generate([PROMPT], Sampling(200, stop=STOP), 0)
    assert written.text == ANSWER
    assert answered(model, "greedy")[0].probability == 0.2
    assert answered(model, "greedy", "think_answer")[0].probability == 0.2


@every_family
def test_the_answers_first_token_is_found(family: str) -> None:
    tokenizer = tokenizer_of(FAMILIES[family])
    before, after = FAMILIES[family].thinks
    tokens = tokenizer(f"{before}{DRAFT}{after}{ANSWER}", add_special_tokens=False)["input_ids"]
    thoughts = TokenThoughts.of(TransformersModel(model_of(family).model, tokenizer, 1))
    start = thoughts.answer_start(tokens)
    assert tokenizer.decode(tokens[start:]).strip() == ANSWER
    assert thoughts.answer_start(tokens[:20]) is None
    plain = tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
    assert thoughts.answer_start(plain) == (None if family == "deepseek_r1" else 0)
    assert END not in thoughts.split(tokens).verbatim
