"""The core's executors, registered as a third party would register its own."""

from __future__ import annotations

from eagbench.contracts.hooks import Register, hookimpl
from eagbench.execution.executors.local import Local


@hookimpl
def register_executors(register: Register) -> None:
    """Register the executor of this machine."""
    register(Local)
