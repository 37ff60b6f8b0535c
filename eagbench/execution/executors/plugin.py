"""The core's executors, registered as a third party's would be."""

from __future__ import annotations

from eagbench.contracts.hooks import Register, hookimpl
from eagbench.execution.executors.local import Local


@hookimpl
def register_executors(register: Register) -> None:
    """Registers the executor of this machine."""
    register(Local)
