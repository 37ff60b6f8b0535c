"""Whether a process that computes a stage has the code that the stage was planned with."""

from __future__ import annotations

import importlib.metadata
import platform

from eagbench.contracts.stages import StageNode
from eagbench.errors import UserError
from eagbench.planning.stage_graph import modules_of
from eagbench.registry.code_versions import code_version
from eagbench.registry.environment import device
from eagbench.registry.plugins import load_registry


def check_same_code(node: StageNode) -> None:
    """Check that this process has a stage's code, libraries and device, as they were where it was planned.

    Raises:
        UserError: It has others, so that what it computes would have a wrong name.
    """
    found = {f"the stage '{node.kind}'": (node.code, code_version(*modules_of(node)).version)}
    if node.component is not None:
        use = node.component
        component = load_registry().get(use.kind, use.name).component
        found[f"the {use.kind} '{use.name}'"] = (use.code.partition(";")[0], code_version(component.__module__).version)
    for what, (planned, here) in found.items():
        if planned != here:
            raise UserError(
                f"{what} was planned with the code {planned}, and {platform.node()} has {here} "
                f"(eagbench {importlib.metadata.version('eagbench')}, Python {platform.python_version()}, {device()})",
                hint="install the same versions everywhere, or run from a folder that all machines see; code that uses "
                "PyTorch also depends on the kind of device: give the command on a machine with the workers' kind",
            )
