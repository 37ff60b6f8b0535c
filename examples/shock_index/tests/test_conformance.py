"""`shock_index` keeps the contract of its kind: pytest runs the inherited tests."""

from __future__ import annotations

from eagbench_shock_index.plugin import ShockIndex

from eagbench.testing import ExpertConformance


class TestShockIndex(ExpertConformance):
    component = ShockIndex
