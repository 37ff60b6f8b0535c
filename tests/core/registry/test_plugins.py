"""Plugins are loaded alone; what is broken, doubled or misspelt is named."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from eagbench.api import MetricTraits, StrictParams, hookimpl
from eagbench.errors import UserError
from eagbench.registry.plugins import KINDS, Registry, discover, load_registry


class Loud:
    name: ClassVar[str] = "loud"
    traits: ClassVar[MetricTraits] = MetricTraits(better="higher", reads_probability=True)

    class Params(StrictParams):
        volume: int = 3

    def __init__(self, params: Any) -> None:
        self.params = params

    def __call__(self, scored: Any, weights: Any) -> Any:
        return weights.sum(axis=1)


def plugin_with(**hooks: Callable[..., None]) -> types.ModuleType:
    module = types.ModuleType("made_plugin")
    for name, function in hooks.items():
        setattr(module, name, hookimpl(function))
    return module


@pytest.fixture
def registry_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Registry]:
    def make(**modules: types.ModuleType) -> Registry:
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        dist = importlib.metadata.distribution("eagbench")
        points = [importlib.metadata.EntryPoint(name, name, "eagbench")._for(dist) for name in modules]  # type: ignore[attr-defined]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
        return discover()

    return make


def test_a_component_is_found_by_kind_and_name(registry_of: Callable[..., Registry]) -> None:
    registry = registry_of(one=plugin_with(register_metrics=lambda register: register(Loud)))
    assert registry.names("metric") == ("loud",)
    assert registry.create("metric", "loud", {"volume": 7}).params.volume == 7


def test_a_doubled_name_lists_every_claimant_and_can_not_be_used(registry_of: Callable[..., Registry]) -> None:
    def register(register: Any) -> None:
        register(Loud)

    registry = registry_of(one=plugin_with(register_metrics=register), two=plugin_with(register_metrics=register))
    with pytest.raises(UserError, match=r"registered 2 times: .*plugin one.*plugin two"):
        registry.get("metric", "loud")


def test_a_misspelt_hook_breaks_its_plugin_and_no_other(registry_of: Callable[..., Registry]) -> None:
    registry = registry_of(
        good=plugin_with(register_metrics=lambda register: register(Loud)),
        bad=plugin_with(register_metricks=lambda register: register(Loud)),
    )
    assert registry.has("metric", "loud")
    [broken] = registry.broken
    assert broken.plugin == "bad"
    assert "register_metricks" in broken.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": None}, "needs a class attribute `name"),
        ({"Params": dict}, "needs a pydantic model `Params`"),
        ({"traits": "missing"}, "missing 1 required keyword-only argument: 'better'"),
        ({"__call__": "missing"}, "it lacks __call__"),
    ],
)
def test_what_is_no_component_is_refused(
    registry_of: Callable[..., Registry], change: dict[str, Any], reason: str
) -> None:
    attributes = {**{k: v for k, v in vars(Loud).items() if k not in {"__dict__", "__weakref__"}}, **change}
    made = type("Made", (), {k: v for k, v in attributes.items() if v != "missing"})
    registry = registry_of(bad=plugin_with(register_metrics=lambda register: register(made)))
    assert not registry.has("metric", "loud")
    assert reason in registry.broken[0].reason


def test_an_unknown_name_gets_the_nearest_and_the_choices() -> None:
    with pytest.raises(UserError) as caught:
        load_registry().get("expert", "lightgmb", where="b.yaml:3")
    message = caught.value.message
    assert message.startswith("b.yaml:3: there is no expert called 'lightgmb'")
    assert "did you mean 'lightgbm'?" in message
    assert "logistic_regression" in message


def test_the_built_ins_come_in_through_the_entry_points() -> None:
    registry = load_registry()
    assert not registry.broken, registry.broken[0].details
    for kind in ("dataset", "expert", "policy", "search", "reward", "method", "perturbation", "metric"):
        assert registry.names(kind), kind
        assert kind in KINDS
    named = {ep.name for ep in importlib.metadata.entry_points(group="eagbench")}
    assert {item.plugin for item in registry} <= named
