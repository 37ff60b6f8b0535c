"""The transfer section: a number that stands for answers that nobody could read says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from eagbench.metrics.discrimination import Auroc
from eagbench.report.sections.transfer import _matrix_entry
from eagbench.runs.reader import Group, ResultRow

GROUP = Group("suite", "death", "a", "b", "held_out", "none", "all")


def run(n_seeds: int) -> Any:
    """As much of a run as an entry asks for."""
    return SimpleNamespace(declared=lambda metric: Auroc.traits, manifest={"seeds": list(range(n_seeds))})


def row(n_unparsed: int, metric: str = "auroc", seed: str = "0") -> ResultRow:
    return ResultRow(GROUP, "eag_rl", seed, "clean", None, metric, 0.5, 0.4, 0.6, 200, 30, n_unparsed, "ok")


@pytest.mark.parametrize(
    ("n_unparsed", "said"),
    [(0, ""), (1, ""), (2, "; 1.0 % unparsed"), (95, "; 47.5 % unparsed"), (200, "; 100.0 % unparsed")],
)
def test_a_field_of_the_matrix_says_how_many_answers_were_filled_in(n_unparsed: int, said: str) -> None:
    entry = _matrix_entry(run(3), row(n_unparsed))
    assert entry.text == "0.500"
    assert entry.note == "0.400\u20130.600" + said


def test_a_mean_over_seeds_counts_the_answers_of_all_seeds() -> None:
    assert _matrix_entry(run(3), row(285, seed="mean")).note.endswith("; 47.5 % unparsed")
    assert _matrix_entry(run(3), row(5, seed="mean")).note == "0.400\u20130.600"


def test_the_rate_itself_does_not_say_it_twice_and_an_absent_cell_says_nothing() -> None:
    assert "unparsed" not in _matrix_entry(run(1), row(95, "unparsed_rate")).note
    assert _matrix_entry(run(1), None).text == "\u2013"
