"""Registers the built-in prompts, and the methods that only prompt."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.prompting.built_in import QuestionDecomposition, ThinkAnswer, Vanilla
from eagbench_plugins.prompting.prompt import Prompt


@hookimpl
def register_methods(register: Register) -> None:
    """Register the methods that only prompt."""
    register(Prompt)


@hookimpl
def register_prompts(register: Register) -> None:
    """Register the built-in prompts."""
    for prompt in (Vanilla, ThinkAnswer, QuestionDecomposition):
        register(prompt)
