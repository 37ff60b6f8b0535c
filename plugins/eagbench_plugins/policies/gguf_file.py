"""Opens a GGUF file, the format of llama.cpp, with transformers: dequantised, and with the tokenizer that it names."""

from __future__ import annotations

import contextlib
import io
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eagbench.api import UserError, quiet_transformers
from eagbench_plugins.policies.gguf_pre_tokenizers import known, set_pre_tokenizer

_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What a GGUF file says about itself.

    Attributes:
        tokenizer: The kind of its tokenizer: `gpt2` is byte-level BPE, `llama` SentencePiece.
        pre_tokenizer: The rule that cuts a text into words; empty if it names none.
        rounding: The type of most of its weights, for example `Q4_1`.
    """

    tokenizer: str
    pre_tokenizer: str
    rounding: str

    @property
    def note(self) -> str:
        """How coarse the weights are, in words; empty if they were not rounded."""
        bits = re.match(r"[A-Z]*Q(\d)|MXFP(\d)|NVFP(\d)", self.rounding)
        if bits is None:
            return ""
        return f"its weights were rounded to {next(filter(None, bits.groups()))} bits ({self.rounding})"


def is_gguf(file: Path) -> bool:
    """Tell whether a file begins as GGUF files do."""
    with file.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def read_facts(file: Path) -> GgufFacts:
    """Read what a GGUF file says about itself, once per process and version of the file."""
    stat = file.stat()
    return _facts(file, stat.st_size, stat.st_mtime_ns)


@cache
def _facts(file: Path, size: int, mtime_ns: int) -> GgufFacts:
    del size, mtime_ns  # they only tell one version of the file from another
    from gguf import GGUFReader

    if not is_gguf(file):
        raise _unreadable(file, "it does not begin with GGUF")
    try:
        reader = GGUFReader(file)
    except (ValueError, IndexError) as error:
        raise _unreadable(file, str(error)) from error
    weights: Counter[str] = Counter()
    for tensor in reader.tensors:
        weights[tensor.tensor_type.name] += int(tensor.n_elements)
    return GgufFacts(
        _field(reader, "tokenizer.ggml.model"),
        _field(reader, "tokenizer.ggml.pre"),
        weights.most_common(1)[0][0] if weights else "",
    )


def _field(reader: Any, key: str) -> str:
    field = reader.get_field(key)
    return "" if field is None else str(field.contents())


def load_config(file: Path) -> Any:
    """Read the model's configuration."""
    return quiet_transformers().AutoConfig.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)


def load_tokenizer(file: Path) -> Any:
    """Read the tokenizer and let it cut words as the file says.

    Raises:
        UserError: The file names a pre-tokenizer that neither transformers nor eagbench knows. transformers would take
            another one, and the model would read other tokens than it was trained with.
    """
    facts = read_facts(file)
    names_one = facts.tokenizer == "gpt2" and facts.pre_tokenizer not in ("", "default")
    if names_one and facts.pre_tokenizer not in known():
        raise UserError(
            f"this GGUF file names the pre-tokenizer '{facts.pre_tokenizer}', which eagbench does not know, so that the"
            " model would read other tokens than it was trained with",
            where=str(file),
            hint=f"take the model's folder with its own tokenizer instead; known are {', '.join(sorted(known()))}",
        )
    tokenizer = quiet_transformers().AutoTokenizer.from_pretrained(
        file.parent, gguf_file=file.name, local_files_only=True
    )
    if names_one:
        set_pre_tokenizer(tokenizer, facts.pre_tokenizer)
    return tokenizer


def load_weights(file: Path, dtype: Any) -> Any:
    """Dequantise the weights into a transformers causal language model of this precision, on the CPU.

    Without dequantising, transformers 5.23 keeps packed weights, which can be neither saved nor trained.
    """
    transformers = quiet_transformers()
    # Its bar over the tensors is tqdm's own, and asks no setting of transformers.
    with contextlib.redirect_stderr(io.StringIO()):
        return transformers.AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            quantization_config=transformers.GgufConfig(dequantize=True),
            dtype=dtype,
            local_files_only=True,
        )


def _unreadable(file: Path, why: str) -> UserError:
    return UserError(f"this is not a whole GGUF file: {why}", where=str(file), hint="copy or download the file again")
