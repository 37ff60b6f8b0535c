"""Laid-out weights multiply as the model's own do, follow their changes, and leave the model as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from eagbench_plugins.policies import packed_weights
from eagbench_plugins.policies.packed_weights import PackedWeights, packed_bytes
from eagbench_plugins.policies.tree_reading import TreeReader

VOCABULARY, WIDTH, FEED_FORWARD, LAYERS = 500, 256, 512, 2
TEXTS = [[1, 2, 3, 4, 5], [1, 2, 3, 9], [7, 8]]
# oneDNN takes bfloat16 on processors that have this, and refuses it on others (AVX-NE-CONVERT apart, which is newer).
HALF = "AVX512" in torch.backends.cpu.get_cpu_capability()
needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


def _model(dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=1,
        attention_bias=True,
    )
    model = LlamaForCausalLM(config).to(dtype).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # a new model's are zero
            torch.nn.init.normal_(parameter)
    return model


def _plain(model: Any, text: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([text])).logits[0, -1].float()
    return logits


@needs_onednn
@pytest.mark.parametrize(("dtype", "size", "most"), [(torch.float32, 4, 1e-5), (torch.bfloat16, 2, 0.02)])
def test_logits_are_the_model_s_own(dtype: torch.dtype, size: int, most: float) -> None:
    model = _model(dtype)
    reader = TreeReader(model, memory_gb=1.0, packs=True)
    found = reader.begin(TEXTS)
    for row, text in zip(found, TEXTS, strict=True):
        assert float((row - _plain(model, text)).abs().max()) < most
    # The feed-forward layers and the output layer; those around the attention are too small to be worth it.
    packed = size * (LAYERS * 3 * WIDTH * FEED_FORWARD + VOCABULARY * WIDTH)
    assert packed_bytes(model) in ({packed} if HALF or dtype == torch.float32 else {0, packed})


@needs_onednn
def test_weights_that_training_changed_are_laid_out_anew() -> None:
    model = _model()
    reader = TreeReader(model, memory_gb=1.0, packs=True)
    before = reader.begin(TEXTS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    after = reader.begin(TEXTS)
    assert float((after - before).abs().max()) > 1e-3
    assert float((after[0] - _plain(model, TEXTS[0])).abs().max()) < 1e-5


@needs_onednn
def test_what_is_read_under_autocast_is_multiplied_in_its_precision() -> None:
    model = _model()
    reader = TreeReader(model, memory_gb=1.0, packs=True)
    single = reader.begin(TEXTS)
    with torch.autocast("cpu", torch.bfloat16):
        assert packed_bytes(model) == packed_bytes(_model(torch.bfloat16))
        half = reader.begin(TEXTS)
        expected = _plain(model, TEXTS[0])
    assert float((half[0] - expected).abs().max()) < 0.02
    assert float((half - single).abs().max()) > 1e-5
    torch.testing.assert_close(reader.begin(TEXTS), single)


@needs_onednn
def test_a_precision_that_the_processor_refuses_is_multiplied_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    real = packed_weights._packed

    def refusing(weight: torch.Tensor) -> torch.Tensor:
        if weight.dtype == torch.bfloat16:
            raise RuntimeError("bf16 path needs the cpu support")
        return real(weight)

    monkeypatch.setattr(packed_weights, "_packed", refusing)
    packed_weights._multiplies_packed.cache_clear()
    try:
        model = _model(torch.bfloat16)
        assert packed_bytes(model) == 0 < packed_bytes(_model())
        found = TreeReader(model, memory_gb=1.0, packs=True).begin(TEXTS)
        assert torch.equal(found, TreeReader(model, memory_gb=1.0).begin(TEXTS))
    finally:
        packed_weights._multiplies_packed.cache_clear()


@needs_onednn
def test_the_layers_are_untouched_outside_the_context() -> None:
    model = _model()
    packed = PackedWeights(model)
    names = set(model.state_dict())
    with pytest.raises(KeyError, match="inside"), packed.used():
        raise KeyError("inside")
    assert set(model.state_dict()) == names
    assert all("forward" not in layer.__dict__ for layer in model.modules())
    # A layer whose product somebody else has replaced stays theirs.
    layer = model.model.layers[0].mlp.up_proj
    layer.forward = theirs = lambda rows: torch.zeros(*rows.shape[:-1], FEED_FORWARD)
    assert packed_bytes(model) == packed_bytes(_model()) - 4 * WIDTH * FEED_FORWARD
    with PackedWeights(model).used():
        assert layer.forward is theirs


def test_nothing_is_laid_out_in_other_precisions() -> None:
    assert packed_bytes(_model(torch.float64)) == 0
    model = _model(torch.float64)
    torch.testing.assert_close(
        TreeReader(model, memory_gb=1.0, packs=True).begin(TEXTS),
        TreeReader(model, memory_gb=1.0).begin(TEXTS),
        rtol=0,
        atol=0,
    )
