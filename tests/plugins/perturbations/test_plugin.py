from __future__ import annotations

from eagbench_plugins.perturbations import plugin


def test_registers_the_three_perturbations() -> None:
    registered: list[type] = []
    plugin.register_perturbations(registered.append)
    assert [kind.name for kind in registered] == ["feature_order", "feature_order_positional", "missing_values"]
