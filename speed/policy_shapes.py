"""Shapes of the language models that configs/policies/ names, for measurements that need no weights.

Sources: public copies of the models' config.json:
    Qwen2.5-3B and 7B, Llama-3.1-8B: github.com/citsjtu2020/LLM-Prof, sglang/Model_Config.md; the instruct models have
        the shapes of their bases (for 7B: huggingface.co/osllmai-community/Qwen2.5-7B-Instruct, config.json, which
        has a context of 32,768).
    HuatuoGPT-o1-7B: Qwen2.5-7B is its base (github.com/FreedomIntelligence/HuatuoGPT-o1, README).
    DeepSeek-R1-Distill-Qwen-7B: based on Qwen2.5-Math-7B (its model card); same widths, rope_theta 10,000, untied.
    Llama3-OpenBioLLM-8B: Llama-3-8B is its base, the widths of Llama-3.1-8B with a context of 8,192 and plain rope.
`small` is not a published model. It runs through the same code within seconds on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_QWEN2_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
    "max_position_embeddings": 32768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}
_LLAMA3_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
}
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "qwen2.5-3b": {
        "model_type": "qwen2",
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    },
    "qwen2.5-7b": _QWEN2_7B,
    "huatuogpt-o1-7b": _QWEN2_7B,
    "deepseek-r1-distill-qwen-7b": {
        **_QWEN2_7B,
        "max_position_embeddings": 131072,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    },
    "llama3.1-8b": {
        **_LLAMA3_8B,
        "max_position_embeddings": 131072,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 5e5,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    },
    "openbiollm-8b": {
        **_LLAMA3_8B,
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e5},
    },
    "small": {
        "model_type": "qwen2",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 2048,
        "tie_word_embeddings": False,
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    },
}


def model_config(name: str) -> Any:
    """Return the transformers configuration of a shape."""
    from transformers import AutoConfig

    shape = dict(SHAPES[name])
    return AutoConfig.for_model(shape.pop("model_type"), **shape)
