"""Writes a small benchmark around any component, as an example that plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from eagbench.contracts.traits import MetricTraits, PerturbationTraits, RewardTraits, traits_of

_DATA: Mapping[str, Any] = {"name": "mimic4", "root": "synthetic", "synthetic_patients": 300}
_OTHER = "logistic_regression"
_POLICY: Mapping[str, Any] = {"name": "tiny", "steps": 240, "hidden_dim": 64, "layers": 2}
_RECORD_TEXT: Mapping[str, Any] = {"values": "quantile", "periods": 1, "instructions": "short"}
_PROMPT: Mapping[str, Any] = {"name": "prompt", "style": "vanilla", "max_new_tokens": 64}
_READS_TEXT: Mapping[str, Any] = {"policy": _POLICY, "record_text": _RECORD_TEXT}
_PROMPTED: Mapping[str, Any] = {**_READS_TEXT, "methods": [_PROMPT, _OTHER]}

Part = dict[str, Any] | str


def example_benchmark(kind: str, name: str, params: Mapping[str, Any], component: Any = None) -> str:
    """Write a benchmark that uses a component.

    Args:
        kind: The component's kind.
        name: Its name.
        params: Its parameters.
        component: The component, or its class, whose traits say what the benchmark needs beside it; None for one
            that needs nothing.
    """
    own: Part = {"name": name, **params} if params else name
    tree = {
        "name": f"try_{name}",
        "data": dict(_DATA),
        "methods": [_OTHER],
        "metrics": ["auroc", "brier"],
        "intervals": {"resamples": 200},
        **_around(kind, own, component),
    }
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=110, default_flow_style=None)
    return f"# {command_of(kind, name, 'FILE')}\n{text}"


def command_of(kind: str, name: str, file: str) -> str:
    """Write the command that runs the benchmark."""
    return f"eagbench run {file}" + (f" --executor {name}" if kind == "executor" else "")


class _Dumper(yaml.SafeDumper):
    """Repeats what occurs twice: anchors are no help to a reader."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never write an anchor."""
        del data
        return True


def _around(kind: str, own: Part, component: Any) -> Mapping[str, Any]:
    """Return the keys of a benchmark that a component of the kind needs, itself among them."""
    match kind:
        case "dataset":
            return {"data": own}
        case "expert":
            name = own if isinstance(own, str) else own["name"]
            return {"methods": [own] if name == _OTHER else [own, _OTHER]}
        case "policy":
            return {"policy": own, "record_text": _RECORD_TEXT, "methods": [_PROMPT, _OTHER]}
        case "prompt":
            return {**_READS_TEXT, "methods": [{**_PROMPT, "style": own}, _OTHER]}
        case "search":
            return _distilled({"expert": _OTHER, "search": own})
        case "reward":
            # An expert that neither search nor reward asks for is refused.
            needs_expert = component is not None and traits_of(component, RewardTraits).needs_salience
            return _distilled({**({"expert": _OTHER} if needs_expert else {}), "search": "best_of_n", "reward": own})
        case "method":
            return {**_READS_TEXT, "methods": [own, _OTHER]}
        case "perturbation":
            columns = component is None or "columns" in traits_of(component, PerturbationTraits).applies_to
            named = {"name": own} if isinstance(own, str) else own
            return {**({} if columns else _PROMPTED), "conditions": ["clean", {**named, "level": [1, 3, 5]}]}
        case "metric":
            return _measured(own, component)
        case "tracker":
            return {"methods": [{"name": "gru", "epochs": 2}, _OTHER], "trackers": [own]}
        case "executor":
            return {}  # the command names it
    raise ValueError(f"no example of the kind {kind}")


def _distilled(parts: Mapping[str, Any]) -> Mapping[str, Any]:
    small = {"token_budget": 160, "max_new_tokens": 160, "max_training_cases": 40, "sft": {"steps": 5}}
    return {**_READS_TEXT, "methods": [{"name": "trajectory_distillation", **parts, **small}, _OTHER]}


def _measured(own: Part, component: Any) -> Mapping[str, Any]:
    traits = MetricTraits(better="neither") if component is None else traits_of(component, MetricTraits)
    reference = {"reference_expert": _OTHER} if traits.needs_reference_expert or traits.needs_attention else {}
    readers = _PROMPTED if traits.needs_attention or traits.columns else {}
    return {**reference, **readers, "metrics": ["auroc", own]}
