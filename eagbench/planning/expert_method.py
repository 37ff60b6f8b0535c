"""An expert as a method under its own name: the expert's stage, and the core's `predict` by expert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from eagbench.contracts.method_plan import MethodPlan
from eagbench.contracts.stages import ComponentUse, StageNode
from eagbench.contracts.traits import MethodTraits


class ExpertMethod:
    """Declares the one stage an expert needs."""

    traits: ClassVar[MethodTraits] = MethodTraits(reads="columns")

    def __init__(self, use: ComponentUse) -> None:
        self._use = use

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """The fitted expert."""
        return {"expert": plan.expert(self._use)}
