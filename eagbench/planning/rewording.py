"""Refuses a condition that changes the words of prompts where it could leave a method's prompt as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eagbench.config.yaml_source import KeyPath
from eagbench.contracts.components import RewordsPrompts
from eagbench.errors import UserError
from eagbench.planning.method_plan import PlannedMethod
from eagbench.planning.stage_graph import StageGraph
from eagbench.prompting.prompt_specs import style_if_any


def refuse_unworded(graph: StageGraph, methods: Sequence[PlannedMethod]) -> None:
    """Refuse a benchmark in which a prompt would stay as it is under a condition that rewords prompts.

    Args:
        graph: The plan in the making, with its benchmark.
        methods: The methods. Those that read text say by their parameter `style` in which prompt they ask.

    Raises:
        UserError: A condition has no other words for the prompt of a method, or the method names no prompt. Its result
            under the condition would be that on unchanged prompts, and no finding.
    """
    asked = [(method, style_if_any(method.use.params.get("style"))) for method in methods if method.reads == "text"]
    for i, spec in enumerate(graph.benchmark.conditions):
        path: KeyPath = ("conditions", i)
        if not graph.registry.has("perturbation", spec.name):
            continue  # `clean`
        registered, params = graph.validated("perturbation", spec.name, spec.params, path)
        perturbation: Any = registered.component(params)
        if not isinstance(perturbation, RewordsPrompts):
            continue
        known = perturbation.reworded()
        for method, style in asked:
            if style is None:
                raise UserError(
                    f"the condition '{spec.label}' changes the words of prompts, and the method '{method.label}' does "
                    "not say in which prompt it asks",
                    where=graph.place(path),
                    hint="leave the condition out, or give the method a parameter `style` of the type `PromptSpec`",
                )
            if style.name not in known:
                raise UserError(
                    f"the condition '{spec.label}' has no other words for the prompt '{style.name}' of the method "
                    f"'{method.label}'",
                    where=graph.place(path),
                    hint=f"give it some: `wordings: {{{style.name}: [OTHER.yaml]}}`",
                )
