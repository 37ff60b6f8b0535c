"""Writing and scoring: independent of batches, equal to transformers' own generation and to brute force."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from eagbench.api import ANSWER_LEVELS, STYLES, Sampling, prompt_text
from eagbench_plugins.policies.transformers_model import TransformersModel

CLOSE = "</Final answer>"


@pytest.fixture(scope="module")
def model(prepared) -> TransformersModel:
    return TransformersModel.load(prepared.folder, dtype="float32", device="cpu", batch_size=16)


@pytest.fixture(scope="module")
def prompts(prepared) -> list[str]:
    style = STYLES["question_decomposition"]
    cases = prepared.held_out.select(range(24))
    return [prompt_text(style, case, cases, prepared.record_text) for case in cases]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_texts_depend_on_neither_batch_size_nor_order(model, prompts, temperature) -> None:
    sampling = Sampling(60, temperature=temperature, top_p=0.9, stop=(CLOSE,))
    together = model.generate(prompts, sampling, seed=3)
    assert len({text.text for text in together}) > (1 if temperature else 0)
    small = TransformersModel(model.model, model.tokenizer, batch_size=5).generate(prompts, sampling, seed=3)
    backwards = model.generate(prompts[::-1], sampling, seed=3)[::-1]
    alone = [model.generate([prompt], sampling, seed=3)[0] for prompt in prompts[:3]]
    assert small == together
    assert backwards == together
    assert alone == together[:3]


def test_seed_and_repetition_give_other_samples(model, prompts) -> None:
    sampling = Sampling(60, temperature=1.0)
    three = model.generate([prompts[0]] * 3, sampling, seed=0)
    assert len({text.text for text in three}) == 3
    assert model.generate([prompts[0]] * 3, sampling, seed=0) == three
    assert model.generate([prompts[0]], sampling, seed=1)[0] != three[0]


def test_greedy_writes_what_transformers_generate_writes(model, prompts) -> None:
    written = model.generate(prompts[:8], Sampling(50), seed=0)
    for prompt, text in zip(prompts[:8], written, strict=True):
        ids = model.tokenizer(prompt, return_tensors="pt")["input_ids"]
        reference = model.model.generate(ids, max_new_tokens=50, do_sample=False)[0, ids.shape[1] :]
        assert text.text == model.tokenizer.decode(reference, skip_special_tokens=True)
        assert text.tokens == len(reference)


def test_stop_strings_end_the_text_and_stay_in_it(model, prompts) -> None:
    for text in model.generate(prompts, Sampling(80, stop=("<Answer>", "<Final subquestion>")), seed=0):
        assert text.text.endswith(("<Answer>", "<Final subquestion>"))
        assert text.text.count("<Answer>") + text.text.count("<Final subquestion>") == 1
    # A stop string that ends within a token: the text is cut there.
    whole = model.generate(prompts[:1], Sampling(80), seed=0)[0]
    part = whole.text[5:9]
    cut = model.generate(prompts[:1], Sampling(80, stop=(part,)), seed=0)[0]
    assert cut.text == whole.text[: whole.text.index(part) + len(part)]
    assert cut.tokens < whole.tokens


def test_max_new_tokens_bounds_the_text(model, prompts) -> None:
    assert {text.tokens for text in model.generate(prompts[:3], Sampling(4), seed=0)} == {4}


def test_samples_follow_the_distribution(model, prompts) -> None:
    n = 2000
    texts = model.generate([prompts[0]] * n, Sampling(1, temperature=1.5, top_p=0.9), seed=0)
    ids = torch.tensor([model.tokenizer(prompts[0])["input_ids"]])
    with torch.no_grad():
        expected = (model.model(ids).logits[0, -1] / 1.5).softmax(dim=-1).double().numpy()
    order = np.argsort(-expected)
    nucleus = order[: int(np.searchsorted(np.cumsum(expected[order]), 0.9)) + 1]
    share = expected[nucleus] / expected[nucleus].sum()
    counts = Counter(text.text for text in texts)
    assert set(counts) <= {model.tokenizer.decode([i], skip_special_tokens=True) for i in nucleus}
    for token, probability in zip(nucleus[:5], share[:5], strict=True):
        seen = counts[model.tokenizer.decode([token], skip_special_tokens=True)] / n
        assert abs(seen - probability) < 5 * math.sqrt(probability * (1 - probability) / n) + 1e-9


def _brute_force(model: TransformersModel, text: str, candidates: tuple[str, ...]) -> np.ndarray:
    prefix = model.tokenizer(text)["input_ids"]
    scores = []
    for candidate in candidates:
        tokens = model.tokenizer(candidate, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            log_p = model.model(torch.tensor([prefix + tokens])).logits[0].double().log_softmax(dim=-1)
        scores.append(sum(float(log_p[len(prefix) + i - 1, token]) for i, token in enumerate(tokens)))
    weights = np.exp(np.array(scores) - max(scores))
    return weights / weights.sum()


@pytest.mark.parametrize(
    "candidates",
    [ANSWER_LEVELS, ("yes", "no", "perhaps not", "heart_rate, lactate"), ("0.05", "0.0512", "7")],
    ids=["single tokens", "words of many tokens", "mixed lengths"],
)
def test_continuation_probabilities_equal_brute_force(model, prompts, candidates) -> None:
    written = ["<Final answer>", "<Subquestion> How is ph?<Answer>", "", "<Final answer>"] * 5
    got = model.continuation_probabilities(prompts[:20], written, candidates)
    assert got.shape == (20, len(candidates))
    np.testing.assert_allclose(got.sum(axis=1), 1.0)
    for row, prompt, text in zip(got, prompts, written, strict=False):
        np.testing.assert_allclose(row, _brute_force(model, prompt + text, candidates), rtol=1e-4, atol=1e-7)


def test_a_chat_template_is_applied_to_the_prompt_alone(model, prompts) -> None:
    import copy

    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[bot]{% endif %}"
    )
    chat = TransformersModel(model.model, tokenizer, batch_size=4)
    assert chat.as_input("hello") == "[user]hello[bot]"
    by_hand = model.continuation_probabilities([f"[user]{prompts[0]}[bot]"], ["<Final answer>"], ANSWER_LEVELS)
    np.testing.assert_allclose(
        chat.continuation_probabilities([prompts[0]], ["<Final answer>"], ANSWER_LEVELS), by_hand, rtol=1e-5
    )
    expected = model.generate([f"[user]{prompts[0]}[bot]"], Sampling(20), seed=0)
    assert chat.generate([prompts[0]], Sampling(20), seed=0) == expected


def test_no_prompts_give_no_texts(model) -> None:
    assert model.generate([], Sampling(5), seed=0) == []
    assert model.continuation_probabilities([], [], ANSWER_LEVELS).shape == (0, len(ANSWER_LEVELS))


def test_a_user_hears_once_that_a_model_reads_every_text_anew(
    model: TransformersModel, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    class NamedHere(BloomForCausalLM):  # type: ignore[misc]
        """It is said once for a class: no other test may have heard it."""

    config = BloomConfig(vocab_size=len(model.tokenizer), hidden_size=32, n_layer=2, n_head=4)
    for _ in range(2):
        opened = TransformersModel(NamedHere(config).eval(), model.tokenizer, batch_size=4)
        assert not opened.shares_prompts
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("note: NamedHere can't read texts in trees")
