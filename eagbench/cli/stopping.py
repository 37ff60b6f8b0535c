"""The signals that end a command, shared by all commands: each says how to go on afterwards."""

from __future__ import annotations

from eagbench.execution.processes import StopSignals

stop_signals = StopSignals()
