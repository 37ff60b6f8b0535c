"""The probe gives the numbers of a full eager pass, and leaves the model as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from eagbench.api import (
    STYLES,
    AnswerMode,
    AttentionProbe,
    UserError,
    answer_cases,
    measure_attention,
    prompt_with_spans,
)
from eagbench.prompting.attention import with_attention
from eagbench_plugins.policies.transformers_model import TransformersModel

STYLE = STYLES["question_decomposition"]
WRITTEN = ["<Final answer>", "<Subquestion> How is ph?<Answer> low<Final answer>"]
ANSWERS = ["0.35", "", "0.3512, perhaps"]


@pytest.fixture(scope="module")
def model(prepared) -> TransformersModel:
    return TransformersModel.load(prepared.folder, dtype="float32", device="cpu", batch_size=16)


@pytest.fixture(scope="module")
def asked(prepared):
    cases = prepared.held_out.select(range(12))
    prompts, spans = zip(*(prompt_with_spans(STYLE, case, cases, prepared.record_text) for case in cases), strict=True)
    written = [WRITTEN[i % 2] for i in range(12)]
    answers = [ANSWERS[i % 3] for i in range(12)]
    return list(prompts), written, answers, [list(mine.values()) for mine in spans]


def _by_full_pass(model: TransformersModel, text: str, answer: str, spans, layers: int) -> list[float]:
    """One eager pass over everything, one text at a time, with loops instead of tensors of positions."""
    encoded = model.tokenizer(text, return_offsets_mapping=True)
    prefix, end = encoded["input_ids"], model.tokenizer(answer, add_special_tokens=False)["input_ids"]
    eager = copy.deepcopy(model.model)
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = eager(torch.tensor([[*prefix, *end]]), output_attentions=True).attentions
    queries = range(len(prefix) - 1, len(prefix) + max(0, len(end) - 1))
    found = []
    for first, last in spans:
        tokens = [i for i, (start, stop) in enumerate(encoded["offset_mapping"]) if start < last and stop > first]
        weights = [float(a[0, h, q, t]) for a in attentions[-layers:] for h in range(a.shape[1]) for q in queries
                   for t in tokens]  # fmt: skip
        found.append(float(np.mean(weights)))
    return found


@pytest.mark.parametrize(("share", "layers"), [(0.5, 1), (1.0, 2)])
def test_attention_equals_that_of_a_full_eager_pass(model, asked, share, layers) -> None:
    prompts, written, answers, spans = asked
    assert len(model.tokenizer(ANSWERS[2])["input_ids"]) > 2
    got = model.attention_to(prompts, written, answers, spans, share)
    for i, prompt in enumerate(prompts):
        reference = _by_full_pass(model, prompt + written[i], answers[i], spans[i], layers)
        np.testing.assert_allclose(got[i], reference, atol=1e-6, rtol=1e-4)
        assert max(reference) > 1e-3


def test_attention_depends_on_neither_batch_size_nor_order(model, asked) -> None:
    together = model.attention_to(*asked)
    small = TransformersModel(model.model, model.tokenizer, batch_size=5).attention_to(*asked)
    backwards = model.attention_to(*(part[::-1] for part in asked))[::-1]
    for row, other, turned in zip(together, small, backwards, strict=True):
        np.testing.assert_allclose(other, row, rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(turned, row, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(model, asked, training) -> None:
    mine = TransformersModel(copy.deepcopy(model.model), model.tokenizer, batch_size=16)
    mine.model.train(training)
    before = mine.model.config._attn_implementation
    assert before != "eager"
    assert isinstance(mine, AttentionProbe)
    mine.attention_to(*asked)
    assert mine.model.config._attn_implementation == before
    assert all(module.training == training for module in mine.model.modules())
    assert all(parameter.grad is None for parameter in mine.model.parameters())


def test_a_chat_template_moves_the_parts_and_may_cut_white_space(model, asked) -> None:
    prompts, written, answers, spans = (part[:3] for part in asked)
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}{% endfor %}"
        "{% if add_generation_prompt %}[bot]{% endif %}"
    )
    chat = TransformersModel(model.model, tokenizer, batch_size=4)
    got = chat.attention_to(prompts, written, answers, spans)
    for i, prompt in enumerate(prompts):
        text = f"[user] {prompt.strip()}[bot]{written[i]}"
        moved = [(start + len("[user] "), end + len("[user] ")) for start, end in spans[i]]
        np.testing.assert_allclose(got[i], _by_full_pass(model, text, answers[i], moved, 1), atol=1e-6, rtol=1e-4)


def test_layers_with_a_sliding_window_give_nothing_to_what_lies_before_it(model) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(model.tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, sliding_window=6,
    )  # fmt: skip
    sliding = TransformersModel(MistralForCausalLM(config).eval(), model.tokenizer, batch_size=4)
    prompts = ["heart_rate lactate ph glucose sodium creatinine " * 3, "heart_rate lactate ph"]
    spans = [[(0, 10), (len(prompts[0]) - 24, len(prompts[0]) - 18)], [(0, 10)]]
    got = sliding.attention_to(prompts, ["a", "b"], ["0.3512, perhaps", ""], spans, layers=1.0)
    for i, answer in enumerate(["0.3512, perhaps", ""]):
        reference = _by_full_pass(sliding, prompts[i] + "ab"[i], answer, spans[i], 2)
        np.testing.assert_allclose(got[i], reference, atol=1e-6, rtol=1e-4)
    assert got[0][0] == 0.0


def test_a_tokenizer_that_knows_no_places_is_refused(model, asked) -> None:
    class Slow:
        is_fast = False
        eos_token_id = pad_token_id = 0

    with pytest.raises(UserError, match="can't be measured"):
        TransformersModel(model.model, Slow(), batch_size=4).attention_to(*asked)


def test_attention_sums_to_one_over_the_features_in_the_prompt(model, prepared) -> None:
    cases = prepared.held_out.select(range(20))
    predictions = answer_cases(model, cases, prepared.record_text, STYLE, AnswerMode(), seed=0, max_new_tokens=90)
    measured = with_attention(predictions, model, cases, prepared.record_text, STYLE)
    parsed = [p for p in measured if p.probability is not None]
    assert len(parsed) > 10
    for case, prediction in zip(cases, measured, strict=True):
        attention = prediction.trajectories[0].attention
        if prediction.probability is None:
            continue
        assert set(attention) == set(prepared.record_text.feature_texts(case, cases))
        assert sum(attention.values()) == pytest.approx(1)
        assert min(attention.values()) > 0


def test_what_begins_no_answer_has_no_attention(model, prepared) -> None:
    cases = prepared.held_out.select([0])
    prompt, spans = prompt_with_spans(STYLE, cases.items[0], cases, prepared.record_text)
    texts = ["<Important Features> ph", "<Important Features> ph<Final answer>0.2</Final answer>"]
    nothing, something = measure_attention(model, [prompt] * 2, [spans] * 2, texts, STYLE)
    assert nothing is None
    assert something is not None
    assert measure_attention(model, [prompt], [{}], texts[1:], STYLE) == [{}]
