"""Cases as those of a large stored cohort: a sequence that is no list, and whose cases are made anew in every pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from eagbench.contracts.block_sequence import BlockSequence
from eagbench.contracts.records import Case, Cases, LabelledCases, TrainingData

# Cases of a block: few, so that a handful of cases has several.
_SIZE = 7


def in_blocks(cases: Cases) -> Cases:
    """Return equal cases that are made in blocks when they are needed, and that nobody keeps."""
    return cases.with_items(_Blocks(tuple(cases)))


def labelled_in_blocks(labelled: LabelledCases) -> LabelledCases:
    """Return equal labelled cases, as `in_blocks` makes them."""
    return LabelledCases(in_blocks(labelled.cases), labelled.labels)


def training_in_blocks(data: TrainingData) -> TrainingData:
    """Return equal training data, as `in_blocks` makes them."""
    return TrainingData(labelled_in_blocks(data.train), labelled_in_blocks(data.tuning))


class _Blocks(BlockSequence[Case]):
    """Copies of cases, made whenever they are asked for: by their weight they are too many to keep."""

    def __init__(self, cases: tuple[Case, ...]) -> None:
        self._cases = cases
        super().__init__([*range(0, len(cases), _SIZE), len(cases)], lambda _: 1, float("inf"))

    @property
    def known(self) -> Mapping[str, Sequence[str]]:
        """The ids of the cases and of their patients."""
        names = ("case_id", "patient_id")
        return {name: [getattr(case, name) for case in self._cases] for name in names}

    def _made(self, number: int, places: Sequence[int]) -> Iterator[Case]:
        for place in places:
            case = self._cases[self.starts[number] + place]
            yield replace(case, times=case.times.copy(), values=case.values.copy())
