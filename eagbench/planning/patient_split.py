"""Ways to divide the patients of a plan: the benchmark's own split, or a sweep that divides its training part again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from eagbench.config.benchmark import SplitSpec
from eagbench.contracts.stages import StageNode, StageOutput


class PatientSplit(Protocol):
    """A way to divide the patients of a plan.

    Attributes:
        folds: Number of folds.
    """

    @property
    def folds(self) -> int:
        """Number of folds."""

    def stage(self, cohort: StageNode, label: str) -> StageNode:
        """Return the stage that divides a cohort's patients.

        Its first input is the cohort, and its params contain a `seed`.
        """


@dataclass(frozen=True, slots=True)
class BenchmarkSplit:
    """The benchmark's own split.

    Attributes:
        spec: Shares, or folds.
        limit: Patients to take before the split; None for all.
    """

    spec: SplitSpec
    limit: int | None = None

    @property
    def folds(self) -> int:
        """Number of folds."""
        return self.spec.folds or 1

    def stage(self, cohort: StageNode, label: str) -> StageNode:
        """Return the stage that divides a cohort's patients."""
        params = {**self.spec.model_dump(mode="json"), "limit": self.limit}
        inputs = {"cohort": StageOutput(cohort)}
        return StageNode("split", label, "eagbench.stages.split:assign", params, inputs)
