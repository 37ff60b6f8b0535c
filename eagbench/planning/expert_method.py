"""An expert as a method under its own name: the expert's stage, and the core's `predict` by expert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from eagbench.contracts.method_plan import MethodPlan
from eagbench.contracts.records import Reads
from eagbench.contracts.stages import ComponentUse, StageNode


class ExpertMethod:
    """Declares the one stage an expert needs."""

    reads: ClassVar[Reads] = "columns"

    def __init__(self, use: ComponentUse) -> None:
        self._use = use

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """The fitted expert."""
        return {"expert": plan.expert(self._use)}
