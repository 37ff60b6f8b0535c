"""Which cases a sweep's trials are scored on: tuning cases if there are enough, else folds of the training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eagbench.contracts.stages import StageNode, StageOutput
from eagbench.stages.split import read_parts
from eagbench.sweep.folder import TuningRecord, TuningScheme

# Below either, a metric of the tuning part says more of chance than of a configuration (docs/sweeps.md).
MIN_TUNING_CASES, MIN_TUNING_EVENTS = 100, 20


@dataclass(frozen=True, eq=False, slots=True)
class NestedSplit:
    """How a trial's plan divides patients: one fold within another split's training and tuning patients.

    Attributes:
        outer: The stage whose patients are divided; those that it holds out are never used.
        scheme: How they are divided.
        n_folds: Number of folds of the scheme, each a plan of its own.
        fold: Index of this fold.
        training_share: Share of the training patients to use; the other parts are always whole.
    """

    outer: StageNode
    scheme: TuningScheme
    n_folds: int
    fold: int
    training_share: float = 1.0

    @property
    def folds(self) -> int:
        """Folds within one plan: this one."""
        return 1

    def stage(self, cohort: StageNode, label: str) -> StageNode:
        """Build the stage that divides a cohort's patients."""
        [outer_cohort] = self.outer.upstream()
        # Left out where all patients are taken: that is the work of a sweep without rungs, and shared with it.
        share = {"training_share": self.training_share} if self.training_share < 1 else {}
        return StageNode(
            kind="split",
            label=f"{label} within training and tuning patients",
            function="eagbench.stages.nested_split:assign",
            params={
                "scheme": self.scheme,
                "folds": self.n_folds,
                "fold": self.fold,
                "seed": self.outer.params["seed"],
                **share,
            },
            inputs={
                "cohort": StageOutput(cohort),
                "split": StageOutput(self.outer),
                "split_cohort": StageOutput(outer_cohort),
            },
        )


def choose_division(outer: StageNode, folder: Path, folds: int) -> tuple[TuningRecord, Sequence[NestedSplit]]:
    """Choose how the trials of a sweep are scored.

    Args:
        outer: The benchmark's own split.
        folder: Its folder in the store.
        folds: Number of folds if the tuning part is too small.

    Returns:
        The cases that are scored, and the division of each fold.
    """
    parts = {part["part"]: part for part in read_parts(folder)}
    tuning, train = parts["tuning"], parts["train"]
    if tuning["n_cases"] >= MIN_TUNING_CASES and tuning["n_positive"] >= MIN_TUNING_EVENTS:
        record = TuningRecord("tuning_part", 1, tuning["n_cases"], tuning["n_positive"])
    else:
        n_cases, n_positive = (tuning[count] + train[count] for count in ("n_cases", "n_positive"))
        record = TuningRecord("cross_validation", folds, n_cases, n_positive)
    return record, [NestedSplit(outer, record.scheme, record.folds, fold) for fold in range(record.folds)]
