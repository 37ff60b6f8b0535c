"""The built-in components of each kind, found as users find them, and a conformance class for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eagbench.registry.plugins import load_registry


def built_in(kind: str) -> list[Any]:
    """The classes that eagbench itself registers for a kind."""
    found = [registered.component for registered in load_registry() if registered.kind == kind]
    return [component for component in found if component.__module__.partition(".")[0].startswith("eagbench")]


def conformance_classes(kind: str, base: type, attributes: Mapping[str, Mapping[str, Any]] = {}) -> dict[str, type]:
    """One subclass per built-in component, to be added to a test module: a new component is tested at once.

    Args:
        kind: The kind.
        base: Its conformance class.
        attributes: Class attributes by the component's name, for those that need any.
    """
    components = {component.name: component for component in built_in(kind)}
    assert set(attributes) <= set(components), set(attributes) - set(components)
    return {
        f"Test_{name}": type(f"Test_{name}", (base,), {"component": component, **attributes.get(name, {})})
        for name, component in components.items()
    }


def permitted(component: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the parameters that a component has."""
    return {name: value for name, value in params.items() if name in component.Params.model_fields}
