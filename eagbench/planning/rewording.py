"""Refuses a condition that changes the words of prompts where a method asks in a prompt that it has no words for."""

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
        UserError: A condition has no other words for the prompt of a method.
    """
    asked = [(method, style) for method in methods if (style := style_if_any(method.use.params.get("style")))]
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
            if style.name not in known:
                raise UserError(
                    f"the condition '{spec.label}' has no other words for the prompt '{style.name}' of the method "
                    f"'{method.label}'",
                    where=graph.place(path),
                    hint=f"give it some: `wordings: {{{style.name}: [OTHER.yaml]}}`",
                )
