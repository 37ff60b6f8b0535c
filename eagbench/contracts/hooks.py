"""One hook per kind of component. A plugin module implements the hooks it needs; an entry point names the module.

    [project.entry-points.eagbench]
    my_package = "my_package.plugin"

Every hook is called once, when a command first needs components of any kind. It gets `register` and calls it with each
component class. Modules that implement hooks must be cheap to import: import torch, transformers, trl and pyhealth
inside functions, or in modules that load late.
"""

from __future__ import annotations

from collections.abc import Callable

import pluggy

hookspec = pluggy.HookspecMarker("eagbench")
hookimpl = pluggy.HookimplMarker("eagbench")

Register = Callable[[type], None]


@hookspec
def register_datasets(register: Register) -> None:
    """Register each `Dataset` class (YAML: `data: {name: ...}`)."""


@hookspec
def register_experts(register: Register) -> None:
    """Register each `Expert` class (YAML: `reference_expert`, or as a method)."""


@hookspec
def register_policies(register: Register) -> None:
    """Register each `Policy` class (YAML: `policy: {name: ...}`)."""


@hookspec
def register_prompts(register: Register) -> None:
    """Register each `Prompt` class (YAML: `style:` of a method)."""


@hookspec
def register_searches(register: Register) -> None:
    """Register each `Search` class (YAML: `search:` of a method)."""


@hookspec
def register_rewards(register: Register) -> None:
    """Register each `Reward` class (YAML: `reward:` of a method)."""


@hookspec
def register_methods(register: Register) -> None:
    """Register each `Method` class (YAML: `methods:`)."""


@hookspec
def register_perturbations(register: Register) -> None:
    """Register each `Perturbation` class (YAML: `conditions:`)."""


@hookspec
def register_metrics(register: Register) -> None:
    """Register each `Metric` class (YAML: `metrics:`)."""


@hookspec
def register_trackers(register: Register) -> None:
    """Register each `Tracker` class (YAML: `trackers:`)."""


@hookspec
def register_executors(register: Register) -> None:
    """Register each `Executor` class (`eagbench run --executor NAME`)."""
