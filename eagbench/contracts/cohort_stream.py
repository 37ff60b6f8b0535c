"""A cohort whose cases come in blocks, so that nobody holds all of them: what a loader of a large source returns."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

import numpy as np

from eagbench.contracts.records import Case, Cases, Cohort, Feature, FloatArray, IntArray, Provenance, Task


@dataclass(frozen=True, slots=True, eq=False)
class CaseBlock:
    """Some cases of a cohort with what belongs to them, in the cohort's order.

    Attributes:
        items: The cases.
        labels: 0 or 1 per case, shape (N,).
        groups: As in `Cohort`, one value per case of the block. Every block has the same names.
        reference_probabilities: As in `Cohort`, one per case of the block. Every block has the same names.
    """

    items: tuple[Case, ...]
    labels: IntArray
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reference_probabilities: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class CohortStream:
    """A cohort in blocks: what `load` may return instead of a `Cohort`. It can be read once.

    The provenance comes last, because only who has seen all cases can count what was left out. A loader writes a
    generator: it yields a `CaseBlock` at a time and ends with `return Provenance(...)`.

    Attributes:
        features: The cohort's features in canonical order.
        static_names: The static facts every case has, in canonical order.
        task: The question.
        blocks: Yields the blocks and returns the provenance.
    """

    features: tuple[Feature, ...]
    static_names: tuple[str, ...]
    task: Task
    blocks: Generator[CaseBlock, None, Provenance]

    @classmethod
    def of(cls, cohort: Cohort) -> CohortStream:
        """Return a whole cohort as a stream of one block."""
        cases = cohort.cases
        return cls(cases.features, cases.static_names, cases.task, _one_block(cohort))

    def read(self, each: Callable[[CaseBlock], None]) -> Provenance:
        """Hand every block to `each`, and return the provenance.

        Raises:
            TypeError: The generator returned no `Provenance`, or was read before.
        """
        while True:
            try:
                block = next(self.blocks)
            except StopIteration as end:
                if not isinstance(end.value, Provenance):
                    what = "a CohortStream can be read once, and its blocks end with `return Provenance(...)`"
                    raise TypeError(what) from None
                return end.value
            each(block)

    def collect(self) -> Cohort:
        """Read all blocks into memory."""
        blocks: list[CaseBlock] = []
        provenance = self.read(blocks.append)
        return self._joined(blocks, provenance)

    def _joined(self, blocks: list[CaseBlock], provenance: Provenance) -> Cohort:
        items = tuple(case for block in blocks for case in block.items)
        first = blocks[0] if blocks else CaseBlock((), np.zeros(0, dtype=np.int64))
        return Cohort(
            cases=Cases(self.features, self.static_names, self.task, items),
            labels=np.concatenate([block.labels for block in blocks or [first]]),
            provenance=provenance,
            groups={name: tuple(v for block in blocks for v in block.groups[name]) for name in first.groups},
            reference_probabilities={
                name: np.concatenate([block.reference_probabilities[name] for block in blocks])
                for name in first.reference_probabilities
            },
        )


def _one_block(cohort: Cohort) -> Generator[CaseBlock, None, Provenance]:
    yield CaseBlock(tuple(cohort.cases), cohort.labels, cohort.groups, cohort.reference_probabilities)
    return cohort.provenance
