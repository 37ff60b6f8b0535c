"""A GGUF file of 72 kB that llama.cpp reads too: a random Llama with a hand-made byte-level vocabulary."""

from __future__ import annotations

from pathlib import Path

import numpy as np

HIDDEN, LAYERS, HEADS = 64, 2, 2
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# They join what pre-tokenizers cut in different ways: spaces before digits, runs of digits, line breaks, contractions.
MERGES = (
    "Ġ Ġ", "ĠĠ ĠĠ", "1 2", "12 3", "Ġ 1", "Ġ1 2", "Ġ12 3", "3 4", "5 6", "Ċ Ċ", ", Ġ", "Ġ (", "ĊĊ ĊĊ",
    "' s", "' S", "h e", "a r", "he ar", "hear t", "Ġ hear", "Ġhear t", "_ r", "a t", "_r at", "_rat e", "ĉ ĉ",
    ": Ġ", "Ġ :", ". .", ") :", "Ġ ĉ", "Ċ Ġ", "m m", "mm o", "mmo l", "Ġ mmol", "n o", "no t", "' t", "Ġ not",
    "Ġ ĠĠ", "Ġ g", "/ L", "Ġ Ċ", "i t", "Ġ it", "Ġ w",
)  # fmt: skip
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def vocabulary() -> list[str]:
    """The special tokens, one token for each byte, and what the merges make."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [*SPECIAL, *sorted(ByteLevel.alphabet())]
    return [*tokens, *(merge.replace(" ", "") for merge in MERGES)]


def write_tiny_gguf(file: Path, pre_tokenizer: str = "smollm", rounding: str = "Q4_1", seed: int = 0) -> Path:
    """Write such a file.

    Args:
        file: The place.
        pre_tokenizer: The name it gives (`tokenizer.ggml.pre`); empty for none.
        rounding: The type of the matrices: `F32`, `Q8_0`, `Q4_1` ...
        seed: Seed of the weights.
    """
    import gguf

    tokens = vocabulary()
    rng = np.random.default_rng(seed)
    kind = gguf.GGMLQuantizationType[rounding]
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(4096)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(2 * HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    if pre_tokenizer:
        writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT)

    def add(name: str, *shape: int) -> None:
        values = rng.normal(0, 0.05, shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(name, np.ones(shape, np.float32))
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    add("token_embd.weight", len(tokens), HIDDEN)
    add("output_norm.weight", HIDDEN)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{name}.weight", HIDDEN)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{name}.weight", HIDDEN, HIDDEN)
        add(f"blk.{layer}.ffn_gate.weight", 2 * HIDDEN, HIDDEN)
        add(f"blk.{layer}.ffn_up.weight", 2 * HIDDEN, HIDDEN)
        add(f"blk.{layer}.ffn_down.weight", HIDDEN, 2 * HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
