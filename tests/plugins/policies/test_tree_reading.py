"""Reading in trees gives a model's own logits, reads nothing twice and keeps within its memory."""

from __future__ import annotations

import copy
import gc
import random
import weakref
from typing import Any

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from eagbench_plugins.policies.padded_reading import PaddedReader
from eagbench_plugins.policies.tree_reading import TreeReader, reads_in_trees

VOCABULARY = 200
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=True)).eval()


def _text(rng: random.Random, length: int) -> list[int]:
    return [rng.randrange(VOCABULARY) for _ in range(length)]


@pytest.fixture
def texts() -> list[list[int]]:
    """Texts of 9 prompts with a common beginning, some of them gone on with, one of them twice."""
    rng = random.Random(1)
    head = _text(rng, 20)
    prompts = [head + _text(rng, rng.randrange(5, 40)) for _ in range(9)]
    return [*prompts, *(prompt + _text(rng, 3) for prompt in prompts[:4]), prompts[0]]


def _plain(model: Any, text: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([text])).logits[0, -1]
    return logits


def _nodes(texts: list[list[int]]) -> int:
    """Count the distinct beginnings of texts: what has to be computed at least."""
    return len({tuple(text[: i + 1]) for text in texts for i in range(len(text))})


def test_long_texts_of_several_lengths_that_part_anywhere_have_the_models_own_logits(model: Any) -> None:
    rng = random.Random(5)
    long = _text(rng, 400)
    parting = [long[:at] + _text(rng, length) for at, length in ((3, 260), (127, 1), (128, 200), (250, 140), (399, 1))]
    texts = [long, *parting, _text(rng, 131)]
    reader = TreeReader(model, 1.0)
    for row, text in zip(reader.begin(texts), texts, strict=True):
        torch.testing.assert_close(row, _plain(model, text), rtol=1e-4, atol=1e-5)
    for row, text in zip(reader.read(range(len(texts)), [7] * len(texts)), texts, strict=True):
        torch.testing.assert_close(row, _plain(model, [*text, 7]), rtol=1e-4, atol=1e-5)
    assert reader.computed == _nodes([[*text, 7] for text in texts])


def test_logits_are_the_models_own_and_no_beginning_is_computed_twice(model: Any, texts: list[list[int]]) -> None:
    reader, rng = TreeReader(model, 1.0), random.Random(2)
    found = reader.begin(texts)
    every = [list(text) for text in texts]
    for row, text in zip(found, texts, strict=True):
        torch.testing.assert_close(row, _plain(model, text), rtol=1e-4, atol=1e-5)
    for step in range(8):
        rows = [i for i in range(len(texts)) if i % (step + 1) == 0]
        tokens = [rng.randrange(3) for _ in rows]  # texts that are equal often stay equal
        found = reader.read(rows, tokens)
        for i, token, row in zip(rows, tokens, found, strict=True):
            texts[i] = [*texts[i], token]
            torch.testing.assert_close(row, _plain(model, texts[i]), rtol=1e-4, atol=1e-5)
        every += texts
    assert reader.computed == _nodes(every)


def test_what_was_read_is_known_in_the_next_calls(model: Any, texts: list[list[int]]) -> None:
    reader = TreeReader(model, 1.0)
    reader.begin(texts)
    before = reader.computed
    further = [[*text, 1, 2] for text in texts]
    found = reader.begin(further)
    assert reader.computed - before == _nodes(further) - _nodes(texts)
    torch.testing.assert_close(found[3], _plain(model, further[3]), rtol=1e-4, atol=1e-5)
    # A beginning that was read but not asked for takes one position.
    before = reader.computed
    torch.testing.assert_close(reader.begin([texts[0][:-2]])[0], _plain(model, texts[0][:-2]), rtol=1e-4, atol=1e-5)
    assert reader.computed == before + 1


@pytest.mark.parametrize("candidates", [[[1], [2], [3]], [[1], [2, 3], [2, 4, 5], [2, 4, 6]]])
def test_scores_equal_those_of_padded_reading(model: Any, texts: list[list[int]], candidates: list[list[int]]) -> None:
    ours, padded = TreeReader(model, 1.0), PaddedReader(model, 0)
    found, expected = ours.score(texts, candidates), padded.score(texts, candidates)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert ours.computed < padded.computed / 2


def test_memory_is_bounded_and_what_had_to_go_is_read_again(model: Any) -> None:
    rng = random.Random(3)
    prompts = [_text(rng, 60) for _ in range(12)]
    position = 2 * 3 * 2 * 8 * 4  # bytes: keys and values of 3 layers with 2 heads of 8 numbers
    reader = TreeReader(model, 4 * 64 * position / 1e9)  # four trees
    for start in range(0, 12, 4):
        found = reader.begin(prompts[start : start + 4])
        torch.testing.assert_close(found[1], _plain(model, prompts[start + 1]), rtol=1e-4, atol=1e-5)
        assert reader._memory.slots <= 4
    assert reader.computed == 12 * 60
    reader.begin(prompts[8:])
    assert reader.computed == 12 * 60
    found = reader.begin(prompts[:2])
    assert reader.computed == 14 * 60
    torch.testing.assert_close(found[0], _plain(model, prompts[0]), rtol=1e-4, atol=1e-5)
    # Two of the former trees stayed, those used last.
    reader.begin(prompts[10:])
    assert reader.computed == 14 * 60


def test_a_reader_that_forgot_gives_the_bits_of_a_new_one(model: Any, texts: list[list[int]]) -> None:
    used, new = TreeReader(model, 1.0), TreeReader(model, 1.0)
    used.begin([text[:7] for text in texts])
    used.forget()
    assert torch.equal(used.begin(texts), new.begin(texts))
    assert torch.equal(used.read([0, 2], [5, 6]), new.read([0, 2], [5, 6]))


def test_changed_weights_make_it_forget(model: Any, texts: list[list[int]]) -> None:
    changed = copy.deepcopy(model)
    reader = TreeReader(changed, 1.0)
    before = reader.begin(texts)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.mul_(0.9)
    found = reader.begin(texts)
    assert not torch.allclose(found, before)
    torch.testing.assert_close(found[2], _plain(changed, texts[2]), rtol=1e-4, atol=1e-5)


def test_after_an_error_nothing_is_taken_for_known(
    model: Any, texts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = copy.deepcopy(model)
    reader = TreeReader(broken, 1.0)
    last = broken.model.layers[-1]
    forward = last.forward

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(last, "forward", fail)
    with pytest.raises(MemoryError):
        reader.begin(texts)
    monkeypatch.setattr(last, "forward", forward)
    torch.testing.assert_close(reader.begin(texts)[0], _plain(broken, texts[0]), rtol=1e-4, atol=1e-5)
    assert broken.config._attn_implementation == model.config._attn_implementation


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: LlamaForCausalLM(LlamaConfig(**SMALL)), True),
        (lambda: Qwen3ForCausalLM(Qwen3Config(**SMALL, head_dim=8)), True),
        (lambda: GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4)), True),
        # A window, positions within the attention (ALiBi).
        (lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=16)), False),
        (lambda: BloomForCausalLM(BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4)), False),
        # Scores that are capped.
        (lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8, layer_types=["full_attention"] * 3)), False),
    ],
    ids=["llama", "qwen3", "gpt2", "sliding window", "alibi", "capped scores"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_knows_which_models_read_in_trees(build: Any, expected: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    assert reads_in_trees(build().to(dtype).eval()) is expected


@pytest.mark.parametrize(("layers", "sharpness"), [(90, 1), (30, 30)], ids=["deep", "sharp attention"])
def test_rounding_of_a_model_in_half_precision_is_no_other_attention(layers: int, sharpness: float) -> None:
    torch.manual_seed(8)
    # Two logits differ by more than a tenth of their spread, as SmolLM2's do; with sharp attention as much as after its
    # warm-up, where one text lay further apart than what is allowed without a look at rounding.
    shape = {"num_hidden_layers": layers, "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(**{**SMALL, **shape, "num_key_value_heads": 4, "initializer_range": 0.1}))
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight.mul_(sharpness)
    assert reads_in_trees(model.to(torch.bfloat16).eval())


def test_a_reader_that_is_gone_keeps_no_memory(model: Any, texts: list[list[int]]) -> None:
    reader = TreeReader(model, 1.0)
    reader.begin(texts)
    memory = weakref.ref(reader._memory)
    del reader
    gc.collect()
    assert memory() is None
