"""Registers the built-in perturbations."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.perturbations.feature_order import FeatureOrder, FeatureOrderPositional
from eagbench_plugins.perturbations.missing_values import MissingValues


@hookimpl
def register_perturbations(register: Register) -> None:
    """Registers `feature_order`, `feature_order_positional` and `missing_values`."""
    register(FeatureOrder)
    register(FeatureOrderPositional)
    register(MissingValues)
