"""Small local models that think, each with a chat template that treats thoughts as a well-known family does.

The templates are written for these tests; what they share with the real ones is what surrounds a user's message and
the model's text, and which tags are tokens of their own. A model has learnt one text by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from eagbench_plugins.policies.transformers_model import TransformersModel

PROMPT = "The record says <think>, </think> and <answer>0.50</answer>.\n"
END = "<|stop|>"


@dataclass(frozen=True)
class Family:
    """How a family of models thinks.

    Attributes:
        template: The chat template.
        tokens: Tags that are tokens of their own, and whether decoding leaves them out.
        thinks: What the model writes around its thought.
    """

    template: str
    tokens: dict[str, bool]
    thinks: tuple[str, str]


_TURNS = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
FAMILIES = {
    # Qwen3: the model opens its thought; both tags are tokens that decoding keeps.
    "qwen3": Family(
        _TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is defined and not "
        "enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
        {"<|im_start|>": True, "<|im_end|>": True, "<think>": False, "</think>": False},
        ("<think>\n", "\n</think>\n\n"),
    ),
    # DeepSeek-R1-Distill: the template opens the thought, the model only closes it.
    "deepseek_r1": Family(
        "{% for m in messages %}<|User|>{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}",
        {"<|User|>": True, "<|Assistant|>": True, "<think>": False, "</think>": False},
        ("", "\n</think>\n\n"),
    ),
    # gpt-oss: a thought is a message on another channel, and decoding leaves all of harmony's tokens out.
    "gpt_oss": Family(
        "{% for m in messages %}<|start|>{{ m['role'] }}<|message|>{{ m['content'] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
        dict.fromkeys(("<|start|>", "<|message|>", "<|end|>", "<|channel|>"), True),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ),
    # A model without a chat template, whose tags are made of ordinary tokens.
    "no_template": Family("", {}, ("<think> ", " </think>")),
}


def tokenizer_of(family: Family) -> PreTrainedTokenizerFast:
    """Build a tokenizer with a token per byte, and the family's tags."""
    vocabulary = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bytes_only = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    tags = {END: True, **family.tokens}
    bytes_only.add_tokens([AddedToken(tag, normalized=False, special=special) for tag, special in tags.items()])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_only, eos_token=END, pad_token=END)
    tokenizer.add_special_tokens({"additional_special_tokens": [tag for tag, special in tags.items() if special]})
    if family.template:
        tokenizer.chat_template = family.template
    return tokenizer


def memorised(family: Family, text: str | Sequence[int]) -> TransformersModel:
    """Make a model that answers `PROMPT` with one text, or with exactly these tokens, and then ends."""
    tokenizer = tokenizer_of(family)
    written = tokenizer(text, add_special_tokens=False)["input_ids"] if isinstance(text, str) else list(text)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
        sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, **ends))
        opened = TransformersModel(model.eval(), tokenizer, batch_size=4)
        prompt = opened._encode([opened.as_input(PROMPT)])[0]
        ids = torch.tensor([[*prompt, *written, tokenizer.eos_token_id]])
        labels = ids.clone()
        labels[0, : len(prompt)] = -100
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(400):
            loss = model(input_ids=ids, labels=labels).loss
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            if loss < 0.01:
                break
    return opened


def thinking(name: str, thought: str, answer: str) -> TransformersModel:
    """Make a model of a family that thinks one thought and gives one answer."""
    before, after = FAMILIES[name].thinks
    return memorised(FAMILIES[name], f"{before}{thought}{after}{answer}")
