"""`copied_forward` keeps the contract of its kind: pytest runs the inherited tests."""

from __future__ import annotations

from eagbench_copied_forward.plugin import CopiedForward

from eagbench.testing import PerturbationConformance


class TestCopiedForward(PerturbationConformance):
    component = CopiedForward
