"""The pre-tokenizers that a GGUF file may name and transformers does not know.

A GGUF file holds vocabulary and merges, and the name of the rule by which a text is cut into words before the merges
(`tokenizer.ggml.pre`). llama.cpp has the rules themselves (src/llama-vocab.cpp). transformers 5.23 has some, and takes
GPT-2's rule for every other name, without a word. The names here were compared with llama.cpp, token by token
(tests/plugins/policies/test_gguf_file.py).
"""

from __future__ import annotations

from typing import Any

# Cuts letters, digits and other signs apart, each with the space before it.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_EACH_DIGIT = r"\p{N}"

# The regular expressions of each name, applied one after the other.
_RULES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("gpt-2", "olmo"), (_GPT2,)),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), (_EACH_DIGIT, _GPT2)),
}
# Under these names a word that is in the vocabulary is one token, whatever the merges make of it; transformers leaves
# that out.
_IGNORE_MERGES = frozenset({"llama-bpe", "llama3", "llama-v3"})


def known() -> frozenset[str]:
    """Return the names that are read as llama.cpp reads them: those here, and those that transformers has."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    return frozenset(_RULES) | frozenset(GGUF_PRE_TOKENIZER_SPLITS)


def set_pre_tokenizer(tokenizer: Any, name: str) -> None:
    """Let a byte-level BPE tokenizer cut words by the rule of this name; one that transformers has is set already.

    Args:
        tokenizer: A fast tokenizer of transformers; changed in place.
        name: One of `known()`.
    """
    from tokenizers import Regex, pre_tokenizers

    backend = tokenizer.backend_tokenizer
    if name in _RULES:
        cuts = [pre_tokenizers.Split(Regex(rule), behavior="isolated") for rule in _RULES[name]]
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([*cuts, as_bytes])
    if name in _IGNORE_MERGES:
        backend.model.ignore_merges = True
