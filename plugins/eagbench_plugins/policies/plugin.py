"""Registers the built-in policies."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.policies.hf import HuggingFacePolicy
from eagbench_plugins.policies.openai_compatible import OpenAIPolicy
from eagbench_plugins.policies.smollm2.policy import SmolLM2Policy
from eagbench_plugins.policies.tiny.policy import TinyPolicy


@hookimpl
def register_policies(register: Register) -> None:
    """Register the policies that come with eagbench."""
    register(TinyPolicy)
    register(HuggingFacePolicy)
    register(SmolLM2Policy)
    register(OpenAIPolicy)
