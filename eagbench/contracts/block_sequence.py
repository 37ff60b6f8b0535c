"""Sequences whose items are read or made in blocks when they are needed, so that nobody holds all of them.

A sequence that fits into `KEPT_BYTES` keeps its blocks, so that a small cohort is read once. A larger one is read again
in every pass, and only the items that are asked for are made; a part of it that fits keeps those. The blocks used last
stay in memory, up to `KEPT_BYTES` in a process.
"""

from __future__ import annotations

import itertools
import operator
import os
import threading
from abc import abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

KEPT_BYTES = 2**30
# Items that a selection in no order gathers at a time. Each time it may need all blocks of its source.
_GATHERED = 1000

_Positions = npt.NDArray[np.int64]


class _Kept:
    """The blocks used last, by the sequence and the number of the block."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Let go of all blocks, with a new lock: in a forked process the old one may be held for ever."""
        self._blocks: OrderedDict[Hashable, tuple[tuple[Any, ...], int]] = OrderedDict()
        self._lock = threading.Lock()
        self.n_bytes = 0

    def get(self, key: Hashable) -> tuple[Any, ...] | None:
        """Return a block that was used lately, else None."""
        with self._lock:
            found = self._blocks.get(key)
            if found is not None:
                self._blocks.move_to_end(key)
        return None if found is None else found[0]

    def put(self, key: Hashable, block: tuple[Any, ...], n_bytes: int) -> None:
        """Keep a block, and let go of those that were not used for longest. The newest stays, however large it is."""
        with self._lock:
            if key in self._blocks:  # another thread made it meanwhile
                return
            self._blocks[key] = block, n_bytes
            self.n_bytes += n_bytes
            while self.n_bytes > KEPT_BYTES and len(self._blocks) > 1:
                self.n_bytes -= self._blocks.popitem(last=False)[1][1]


_KEPT = _Kept()
os.register_at_fork(after_in_child=_KEPT.forget)
_NUMBERS = itertools.count()


class BlockSequence[Item](Sequence[Item]):
    """Items in blocks. Pickled or copied, it becomes the tuple of its items.

    Args:
        starts: The position of each block's first item, and the number of all items, increasing. Shape (B + 1,).
        weigh: Returns the bytes that an item takes.
        mean_weight: About the bytes that an item takes on average.
        changed_weight: The same of an item that was changed; None for as many.
    """

    def __init__(
        self,
        starts: Sequence[int],
        weigh: Callable[[Item], int],
        mean_weight: float,
        changed_weight: float | None = None,
    ) -> None:
        self.starts = tuple(int(start) for start in starts)
        self.weigh, self.mean_weight = weigh, mean_weight
        self.changed_weight = mean_weight if changed_weight is None else changed_weight
        self._number = next(_NUMBERS)

    @property
    def fits(self) -> bool:
        """Whether all items fit into memory, so that they are worth keeping for the next pass."""
        return len(self) * self.mean_weight <= KEPT_BYTES

    @property
    @abstractmethod
    def known(self) -> Mapping[str, Sequence[str]]:
        """Attributes that are known of every item before it is made, by their names."""

    @abstractmethod
    def _made(self, number: int, places: Sequence[int]) -> Iterable[Item]:
        """Read or make the items at some places of a block."""

    def block(self, number: int) -> tuple[Item, ...]:
        """Return the items of a block."""
        places = range(self.starts[number + 1] - self.starts[number])
        return self._kept(number) if self.fits else tuple(self._made(number, places))

    def some(self, number: int, places: Sequence[int]) -> Sequence[Item]:
        """Return the items at some places of a block, counted from its first item."""
        if not self.fits:
            return tuple(self._made(number, places))
        block = self._kept(number)
        return [block[place] for place in places]

    def _kept(self, number: int) -> tuple[Item, ...]:
        """Return the items of a block, and keep them."""
        key = (self._number, number)
        found = _KEPT.get(key)
        if found is None:
            found = tuple(self._made(number, range(self.starts[number + 1] - self.starts[number])))
            _KEPT.put(key, found, sum(map(self.weigh, found)))
        return found

    def blocks(self) -> Iterator[tuple[Item, ...]]:
        """Yield the blocks in order."""
        return (self.block(number) for number in range(len(self.starts) - 1))

    def select(self, positions: Sequence[int] | npt.NDArray[np.integer[Any]]) -> BlockSequence[Item]:
        """Select the items at the given positions, without making them.

        Raises:
            IndexError: There is no such position.
        """
        at = np.asarray(positions, dtype=np.int64)
        if len(at) and not -len(self) <= at.min() <= at.max() < len(self):
            raise IndexError(f"positions {at.min()} to {at.max()} of {len(self)} items")
        return _Selection(self, np.where(at < 0, at + len(self), at))

    def changed(self, change: Callable[[range, tuple[Item, ...]], Iterable[Item]]) -> BlockSequence[Item]:
        """Change every item when it is needed.

        Args:
            change: From the positions of items and the items to as many others, with the same `known` attributes.
        """
        return _Change(self, change)

    def __len__(self) -> int:
        return self.starts[-1]

    def __iter__(self) -> Iterator[Item]:
        for block in self.blocks():
            yield from block

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} items")
        return self._at(position % len(self))

    def _at(self, position: int) -> Item:
        number = bisect_right(self.starts, position) - 1
        return self._kept(number)[position - self.starts[number]]

    def __reduce__(self) -> tuple[type[tuple[Item, ...]], tuple[tuple[Item, ...]]]:
        return tuple, (tuple(self),)


class _Selection[Item](BlockSequence[Item]):
    """Some items of another sequence."""

    def __init__(self, source: BlockSequence[Item], positions: _Positions) -> None:
        self._source, self._positions = source, positions
        number = np.searchsorted(source.starts, positions, side="right") - 1  # the block of each position
        if (np.diff(number) >= 0).all():
            edges = np.flatnonzero(np.diff(number)) + 1
        else:
            edges = np.arange(_GATHERED, len(positions), _GATHERED)
        inner = [0, *edges.tolist()] if len(positions) else []
        super().__init__([*inner, len(positions)], source.weigh, source.mean_weight, source.changed_weight)

    @property
    def fits(self) -> bool:
        """Whether its items are worth keeping: not if the source keeps them."""
        return super().fits and not self._source.fits

    @cached_property
    def known(self) -> Mapping[str, Sequence[str]]:
        """Attributes that are known of every item before it is made, by their names."""
        return {name: tuple(values[i] for i in self._positions) for name, values in self._source.known.items()}

    def _made(self, number: int, places: Sequence[int]) -> list[Item]:
        positions = self._positions[self.starts[number] + np.asarray(places, dtype=np.int64)]
        blocks = np.searchsorted(self._source.starts, positions, side="right") - 1
        found: dict[int, Item] = {}
        for block in np.unique(blocks).tolist():  # each once, however the positions jump between them
            here = np.flatnonzero(blocks == block)
            asked = (positions[here] - self._source.starts[block]).tolist()
            found |= zip(here.tolist(), self._source.some(block, asked), strict=True)
        return [found[i] for i in range(len(positions))]

    def _at(self, position: int) -> Item:
        return super()._at(position) if self.fits else self._source._at(int(self._positions[position]))

    def select(self, positions: Sequence[int] | npt.NDArray[np.integer[Any]]) -> BlockSequence[Item]:
        """Select the items at the given positions, without making them."""
        within = np.arange(len(self))[np.asarray(positions, dtype=np.int64)]
        # Of the whole source, so that what two parts share is kept once, or of a part that is kept.
        return super().select(within) if self.fits else _Selection(self._source, self._positions[within])


class _Change[Item](BlockSequence[Item]):
    """The items of another sequence, changed."""

    def __init__(
        self, source: BlockSequence[Item], change: Callable[[range, tuple[Item, ...]], Iterable[Item]]
    ) -> None:
        super().__init__(source.starts, source.weigh, source.changed_weight)
        self._source, self._change = source, change

    @property
    def known(self) -> Mapping[str, Sequence[str]]:
        """Attributes that are known of every item before it is made, by their names."""
        return self._source.known

    def _made(self, number: int, places: Sequence[int]) -> Iterable[Item]:
        block = range(self.starts[number], self.starts[number + 1])
        changed = tuple(self._change(block, self._source.block(number)))
        return [changed[place] for place in places]
