"""Registers the methods that only prompt."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.prompting.prompt import Prompt


@hookimpl
def register_methods(register: Register) -> None:
    """Register the methods that only prompt."""
    register(Prompt)
