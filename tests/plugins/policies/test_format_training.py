"""What the format training reads and what its loss is, against plain computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import CohereConfig, CohereForCausalLM, LlamaConfig, LlamaForCausalLM

from eagbench.api import STYLES
from eagbench_plugins.policies.format_examples import FormatExample, FormatExamples
from eagbench_plugins.policies.format_training import EncodedExample, FormatSchedule, _loss, encode
from eagbench_plugins.policies.model_input import ModelInput
from tests.thinking_models import END, FAMILIES, tokenizer_of

SIZES = {
    "vocab_size": 80,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_is_read_as_the_policy_reads_it_and_a_thought_is_closed(family: str) -> None:
    tokenizer = tokenizer_of(FAMILIES[family])
    read = ModelInput(tokenizer, LlamaConfig(**SIZES))
    example = FormatExample("The record.\n", "<answer>0.35</answer>")
    [encoded] = encode(read, [example])
    assert tokenizer.decode(encoded.prompt) == read.as_input(example.prompt)
    written = tokenizer.decode(encoded.completion)
    closing = "\n</think>\n\n" if family == "deepseek_r1" else ""
    assert written == f"{closing}{example.answer}{END}"
    assert encoded.completion[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("scaled", [False, True])
def test_the_loss_is_the_cross_entropy_of_the_completions_tokens(scaled: bool) -> None:
    torch.manual_seed(0)
    # Cohere's models scale their logits after the head.
    model = (
        CohereForCausalLM(CohereConfig(**SIZES, logit_scale=3.0)) if scaled else LlamaForCausalLM(LlamaConfig(**SIZES))
    )
    rng = np.random.default_rng(0)
    sizes = [(7, 3), (4, 6), (9, 1)]
    group = [EncodedExample(*(rng.integers(2, 80, size=n).tolist() for n in pair)) for pair in sizes]
    expected = 0.0
    for example in group:
        ids = torch.tensor([[*example.prompt, *example.completion]])
        log_probs = model(input_ids=ids).logits[0].log_softmax(dim=-1)
        for i, token in enumerate(example.completion, len(example.prompt)):
            expected -= log_probs[i - 1, token].item()
    assert _loss(model, group, 0, torch.float32).item() == pytest.approx(expected, rel=1e-5)
    assert model(input_ids=ids).logits.shape[1] == ids.shape[1]  # the head reads everything again


def test_a_step_draws_the_same_texts_whatever_came_before(prepared) -> None:
    schedule = FormatSchedule(
        steps=4,
        batch_size=7,
        learning_rate=1e-3,
        short_records=0.5,
        short_record_features=5,
        micro_batch=2,
        checkpoint_every=2,
    )
    examples = FormatExamples(prepared.training, prepared.record_text)
    third = schedule.draw(examples, 0, 2)
    schedule.draw(examples, 0, 3)
    assert schedule.draw(examples, 0, 2) == third
    assert [len(group) for group in third] == [2, 2, 3]
    assert len(third) == len(STYLES)
