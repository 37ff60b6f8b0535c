"""An expert as a method under its own name: its stage, then the core's `predict` by expert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from eagbench.contracts.method_plan import MethodPlan
from eagbench.contracts.stages import ComponentUse, StageNode
from eagbench.contracts.traits import MethodTraits


class ExpertMethod:
    """Declare the one stage that an expert needs."""

    traits: ClassVar[MethodTraits] = MethodTraits(reads="columns")

    def __init__(self, use: ComponentUse) -> None:
        self._use = use

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declare the stage that fits the expert."""
        return {"expert": plan.expert(self._use)}
