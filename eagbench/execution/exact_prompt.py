"""The exact text that a method asks its policy about a case, before anything is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from eagbench.contracts.records import Case, Cases
from eagbench.contracts.stages import StageNode, StageOutput, StageOutputs, StageRun
from eagbench.errors import UserError
from eagbench.prompting.prompt_recording import asked_by
from eagbench.registry.plugins import load_registry


def exact_prompt(
    node: StageNode, case: Case, cases: Cases, folder_of: Callable[[StageNode], Path], out: Path
) -> str | None:
    """Return what a method's policy is asked about a case; None if it is asked nothing.

    Args:
        node: The method's stage `predict`.
        case: The case, under the condition to show.
        cases: The cohort, for its description.
        folder_of: Returns the folder of each stage whose output the method reads.
        out: A folder that the method may write to; what it leaves there means nothing.

    Raises:
        UserError: The method reads a stage that is not in the store.
    """
    use = node.component
    assert use is not None
    component: Any = load_registry().create(use.kind, use.name, {**use.params, **use.locations})
    inputs: dict[str, Any] = {"cases": cases.with_items([case])}
    for name, value in node.inputs.items():
        if isinstance(value, StageOutput):
            inputs[name] = folder_of(value.stage)
        elif isinstance(value, StageOutputs):
            inputs[name] = tuple(map(folder_of, value.stages))
    run = StageRun(dict(node.params), inputs, node.seed or 0, out, component)
    try:
        asked = asked_by(lambda: component.predict(inputs["cases"], run))
    except FileNotFoundError as error:
        raise UserError(
            f"the method reads {error.filename} before it asks the policy, and that is not made yet",
            where=f"method {node.label}",
            hint="run the benchmark first",
        ) from error
    return asked[0] if asked else None
