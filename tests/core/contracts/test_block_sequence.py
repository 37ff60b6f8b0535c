"""Items in blocks: in any order, selected, changed, and no more of them in memory than may be kept."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pytest

from eagbench.contracts import block_sequence
from eagbench.contracts.block_sequence import BlockSequence

STARTS = (0, 3, 4, 9, 12)


class Squares(BlockSequence[int]):
    """The squares of positions, which notes the blocks that it makes."""

    def __init__(self, weight: int = 1) -> None:
        super().__init__(STARTS, lambda _: weight, weight)
        self.made: list[int] = []

    @property
    def known(self) -> Mapping[str, Sequence[str]]:
        return {"name": [f"square {i}" for i in range(12)]}

    def _made(self, number: int, places: Sequence[int]) -> Iterable[int]:
        self.made.append(number)
        return [(STARTS[number] + place) ** 2 for place in places]


EXPECTED = [i * i for i in range(12)]


def test_items_are_those_of_a_tuple_and_each_block_is_made_once() -> None:
    squares = Squares()
    assert len(squares) == 12
    assert not squares.made
    assert list(squares) == EXPECTED == list(squares)
    assert squares.made == [0, 1, 2, 3]
    order = np.random.default_rng(0).permutation(12)
    assert [squares[i] for i in order] == [EXPECTED[i] for i in order]
    assert [squares[-1], squares[-12]] == [121, 0]
    assert squares[2:10:3] == tuple(EXPECTED[2:10:3])
    assert squares[::-1] == tuple(EXPECTED[::-1])
    assert [list(block) for block in squares.blocks()] == [[0, 1, 4], [9], [16, 25, 36, 49, 64], [81, 100, 121]]
    for beyond in (12, -13):
        with pytest.raises(IndexError):
            squares[beyond]


@pytest.mark.parametrize("positions", [[0, 2, 3, 8, 11], [11, 0, 5, 5, 3], [], [-1, 4], list(range(12)), [3]])
def test_a_selection_has_the_items_at_its_positions(positions: list[int]) -> None:
    selection = Squares().select(positions)
    expected = [EXPECTED[i] for i in positions]
    assert list(selection) == expected
    assert [selection[i] for i in range(len(expected))] == expected
    assert [item for block in selection.blocks() for item in block] == expected
    assert list(selection.known["name"]) == [f"square {i % 12}" for i in positions]
    if positions:
        assert list(selection.select([-1, 0])) == [expected[-1], expected[0]]


def test_a_selection_in_order_reads_no_block_that_it_does_not_need() -> None:
    squares = Squares()
    assert list(squares.select([4, 5, 9])) == [16, 25, 81]
    assert squares.made == [2, 3]


def test_a_long_selection_in_no_order_is_gathered_in_parts() -> None:
    positions = np.random.default_rng(1).integers(12, size=2500)
    selection = Squares().select(positions)
    assert [len(block) for block in selection.blocks()] == [1000, 1000, 500]
    assert list(selection) == [EXPECTED[i] for i in positions]


@pytest.mark.parametrize("positions", [[12], [-13], [0, 99]])
def test_a_selection_beyond_the_end_is_refused(positions: list[int]) -> None:
    with pytest.raises(IndexError, match="12 items"):
        Squares().select(positions)


def test_changes_know_positions_and_keep_what_is_known() -> None:
    squares = Squares()
    changed = squares.select([1, 4, 11]).changed(
        lambda at, some: [100 * i + item for i, item in zip(at, some, strict=True)]
    )
    assert not squares.made
    assert list(changed) == [1, 116, 321]
    assert [changed[2], changed[0]] == [321, 1]
    assert list(changed.known["name"]) == ["square 1", "square 4", "square 11"]
    assert list(changed.select([2]).changed(lambda _, some: [-item for item in some])) == [-321]


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets the bytes that are kept."""
    block_sequence._KEPT.forget()
    yield lambda n_bytes: monkeypatch.setattr(block_sequence, "KEPT_BYTES", n_bytes)
    block_sequence._KEPT.forget()


def test_what_fits_is_kept_and_the_oldest_block_goes_first(keeping: Callable[[int], None]) -> None:
    keeping(120)
    first, second = Squares(weight=10), Squares(weight=10)
    assert list(first) == EXPECTED == list(first)
    assert first.made == [0, 1, 2, 3]
    assert block_sequence._KEPT.n_bytes == 120
    assert second[0] == 0
    assert block_sequence._KEPT.n_bytes == 120  # the first block of either has three items
    assert [first[3], first[0]] == [9, 0]
    assert first.made == [0, 1, 2, 3, 0]


def test_what_does_not_fit_is_made_anew_in_every_pass(keeping: Callable[[int], None]) -> None:
    keeping(110)
    squares = Squares(weight=10)
    assert list(squares) == EXPECTED == list(squares)
    assert squares.made == [0, 1, 2, 3] * 2
    assert block_sequence._KEPT.n_bytes == 0
    # A part that fits is kept, and so are its changes.
    squares.made.clear()
    part = squares.select([1, 2, 5, 9, 11])
    changed = part.changed(lambda _, some: [-item for item in some])
    for _ in range(2):
        assert list(part) == [1, 4, 25, 81, 121]
        assert [part[3], part[0]] == [81, 1]
        assert list(part.select([4, 1])) == [121, 4]
        assert list(changed) == [-1, -4, -25, -81, -121]
    assert squares.made == [0, 2, 3]
    assert block_sequence._KEPT.n_bytes == 100


def test_jumping_about_in_what_does_not_fit_keeps_the_newest_block(keeping: Callable[[int], None]) -> None:
    keeping(60)
    heavy = Squares(weight=1000)
    assert [heavy[5], heavy[6], heavy[0], heavy[7]] == [25, 36, 0, 49]
    assert heavy.made == [2, 0, 2]


def test_pickled_and_copied_it_is_a_tuple() -> None:
    for made in (pickle.loads(pickle.dumps(Squares())), copy.deepcopy(Squares().select([0, 2]))):
        assert isinstance(made, tuple)
    assert pickle.loads(pickle.dumps(Squares())) == tuple(EXPECTED)
