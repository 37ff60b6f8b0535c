"""A prompt's representation is the mean of the last hidden states, whatever stands beside it in the batch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from eagbench.api import STYLES, TextEncoder, prompt_text
from eagbench_plugins.policies.transformers_model import TransformersModel


@pytest.fixture(scope="module")
def model(prepared) -> TransformersModel:
    return TransformersModel.load(prepared.folder, dtype="float32", device="cpu", batch_size=16)


@pytest.fixture(scope="module")
def prompts(prepared) -> list[str]:
    cases = prepared.held_out.select(range(20))
    return [prompt_text(STYLES["vanilla"], case, cases, prepared.record_text) for case in cases]


def _by_hand(model: TransformersModel, text: str) -> np.ndarray:
    """One text at a time, from the whole causal model's own list of hidden states."""
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        states = model.model(ids, output_hidden_states=True).hidden_states[-1]
    return states[0].mean(dim=0).numpy()


def test_it_equals_a_pass_by_hand(model, prompts) -> None:
    assert isinstance(model, TextEncoder)
    assert len({len(model.tokenizer(p)["input_ids"]) for p in prompts}) > 1
    encoded = model.encode(prompts)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded, np.stack([_by_hand(model, p) for p in prompts]), rtol=1e-4, atol=1e-5)
    assert np.abs(encoded[0] - encoded[1]).max() > 1e-2


def test_it_depends_on_neither_batch_size_nor_order(model, prompts) -> None:
    together = model.encode(prompts)
    small = TransformersModel(model.model, model.tokenizer, batch_size=3).encode(prompts)
    np.testing.assert_allclose(small, together, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.encode(prompts[::-1])[::-1], together, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.encode(prompts), together)
    assert model.encode([]).shape == (0, together.shape[1])


def test_a_chat_template_is_part_of_what_is_read(model, prompts) -> None:
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[bot]{% endif %}"
    )
    chat = TransformersModel(model.model, tokenizer, batch_size=4)
    expected = np.stack([_by_hand(model, f"[user]{p}[bot]") for p in prompts[:3]])
    np.testing.assert_allclose(chat.encode(prompts[:3]), expected, rtol=1e-4, atol=1e-5)
