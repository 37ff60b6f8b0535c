"""An expert as a method under its own name: the expert's stage, and the core's `predict` by expert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from eagbench.stage import ComponentUse, StageNode
from eagbench.types import Reads

if TYPE_CHECKING:
    from eagbench.plan import MethodPlan


class ExpertMethod:
    """Declares the one stage an expert needs."""

    reads: ClassVar[Reads] = "columns"

    def __init__(self, use: ComponentUse) -> None:
        self._use = use

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """The fitted expert."""
        return {"expert": plan.expert(self._use)}
