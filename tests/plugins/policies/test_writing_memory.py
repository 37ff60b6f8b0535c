"""What may be written at once and kept follows from the declared memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from eagbench.api import UserError
from eagbench_plugins.policies.transformers_model import TransformersModel
from eagbench_plugins.policies.writing_memory import divided
from tests.plugins.policies.conftest import Prepared


def _model() -> Any:
    """Half a GB of weights; 1,000 bytes of keys and values per token."""
    config = SimpleNamespace(num_hidden_layers=5, num_key_value_heads=2, num_attention_heads=4, head_dim=25)
    config.get_text_config = lambda: config
    weights = torch.empty(250_000_000, dtype=torch.bfloat16, device="meta")
    return SimpleNamespace(config=config, parameters=lambda: iter([weights]))


def test_what_the_weights_leave_is_halved() -> None:
    memory = divided(_model(), 2.5, None)
    assert (memory.cache_gb, memory.batch_gb, memory.token_bytes) == (1.0, 1.0, 1000.0)
    declared = divided(_model(), 2.5, 0.5)
    assert (declared.cache_gb, declared.batch_gb) == (0.5, 1.5)


@pytest.mark.parametrize(("packed_gb", "packs", "half"), [(0, False, 1.0), (0.5, True, 0.75), (0.51, False, 1.0)])
def test_a_copy_of_the_weights_is_kept_if_it_takes_no_more_than_a_quarter(
    packed_gb: float, packs: bool, half: float
) -> None:
    memory = divided(_model(), 2.5, None, int(packed_gb * 1e9))
    assert (memory.packs, memory.cache_gb, memory.batch_gb) == (packs, half, half)


def test_long_texts_are_written_in_smaller_batches_and_one_always_is() -> None:
    memory = divided(_model(), 2.5, None)
    assert [memory.texts(tokens, 16) for tokens in (1_000, 62_500, 100_000, 10_000_000)] == [16, 16, 10, 1]


def test_weights_that_do_not_fit_are_refused_with_what_is_needed() -> None:
    with pytest.raises(UserError, match=r"weights take 0.5 GB, and its `memory_gb` is 0.4"):
        divided(_model(), 0.4, None)
    with pytest.raises(UserError, match=r"`cache_gb` 2 GB.*`memory_gb` is 2") as refused:
        divided(_model(), 2.0, 2.0)
    assert "memory_gb: 4" in str(refused.value.hint)


def test_the_texts_do_not_depend_on_the_declared_memory(prepared: Prepared) -> None:
    from eagbench.api import Sampling

    prompts = [f"age={i}\n" for i in range(6)]
    found = []
    for memory_gb in (8.0, 0.001):
        model = TransformersModel.load(prepared.folder, dtype="float32", device="cpu", memory_gb=memory_gb)
        found.append([text.text for text in model.generate(prompts, Sampling(12, 1.0), seed=3)])
    assert found[0] == found[1]
