"""The metrics of a run: name, parameters and declared traits, as the manifest keeps them for later readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from eagbench.contracts.traits import MetricTraits, traits_of
from eagbench.registry.plugins import load_registry


@dataclass(frozen=True, slots=True)
class MetricUse:
    """A metric with the parameters that the benchmark gives it.

    Attributes:
        name: Its name.
        params: Its validated parameters.
        traits: What it declares.
    """

    name: str
    params: Mapping[str, Any]
    traits: MetricTraits

    @classmethod
    def registered(cls, name: str, params: Mapping[str, Any]) -> MetricUse:
        """Make a use with the traits of the installed metric.

        Raises:
            UserError: No metric of that name is installed.
        """
        found = load_registry().get("metric", name)
        return cls(found.name, params, traits_of(found.component, MetricTraits))

    @classmethod
    def recorded(cls, record: Mapping[str, Any]) -> MetricUse:
        """Read what `record` wrote.

        In a manifest from before metrics had traits, the traits are those of the installed metric. The name stays as
        it was recorded, because the rows in the run folder use it.
        """
        traits = record.get("traits")
        if traits is None:
            return replace(cls.registered(record["name"], record["params"]), name=record["name"])
        listed: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in traits.items()
        }
        return cls(record["name"], record["params"], MetricTraits(**listed))

    def record(self) -> dict[str, Any]:
        """Return the metric as JSON values, for the manifest."""
        return {"name": self.name, "params": dict(self.params), "traits": asdict(self.traits)}


def present_name(name: str) -> str:
    """Return the current name of a metric, or the name itself if the metric is not installed."""
    registry = load_registry()
    return registry.get("metric", name).name if registry.has("metric", name) else name


def traits_by_name(metrics: Sequence[MetricUse]) -> dict[str, MetricTraits]:
    """Return what each metric declares, by its name."""
    return {use.name: use.traits for use in metrics}
