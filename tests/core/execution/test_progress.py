"""Bars on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from eagbench.execution.progress import Bars, Reporter
from eagbench.execution.signs_of_life import Lines, Silent


def reporter_on(*, terminal: bool, quiet: bool = False) -> tuple[Reporter, io.StringIO]:
    stream = io.StringIO()
    reporter = Reporter(quiet=quiet)
    reporter.console = Console(file=stream, force_terminal=terminal, width=100)
    return reporter, stream


def test_away_from_a_terminal_there_are_plain_lines_and_no_bar() -> None:
    reporter, stream = reporter_on(terminal=False)
    reporter.say("[1/2] expert [concare]")
    assert list(reporter.progress(range(3), "fit", 3)) == [0, 1, 2]
    assert stream.getvalue() == "[1/2] expert [concare]\n"


def test_on_a_terminal_a_bar_shows_how_far_and_how_long() -> None:
    reporter, stream = reporter_on(terminal=True)
    assert list(reporter.progress(range(3), "fit", 3)) == [0, 1, 2]
    shown = stream.getvalue()
    assert "fit" in shown
    assert "3/3" in shown
    assert "left" in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_says_nothing(terminal: bool) -> None:
    reporter, stream = reporter_on(terminal=terminal, quiet=True)
    reporter.say("x")
    assert list(reporter.progress([1], "fit")) == [1]
    assert stream.getvalue() == ""


def test_progress_that_is_left_early_does_not_break_the_terminal() -> None:
    reporter, stream = reporter_on(terminal=True)
    for item in reporter.progress(range(10), "fit", 10):
        if item == 2:
            break
    assert list(reporter.progress(range(2), "again", 2)) == [0, 1]
    assert "again" in stream.getvalue()


@pytest.mark.parametrize(
    ("terminal", "quiet", "one_by_one", "kind"),
    [
        (True, False, True, Bars),
        (True, False, False, Lines),  # several processes would share the terminal
        (False, False, True, Lines),
        (False, False, False, Lines),
        (True, True, True, Silent),
        (False, True, False, Silent),
    ],
)
def test_what_shows_a_long_stage(terminal: bool, quiet: bool, one_by_one: bool, kind: type) -> None:
    reporter, _ = reporter_on(terminal=terminal, quiet=quiet)
    assert isinstance(reporter.signs(one_by_one=one_by_one), kind)


def test_bars_are_those_of_the_reporter() -> None:
    reporter, stream = reporter_on(terminal=True)
    with reporter.signs(one_by_one=True).of("expert") as progress:
        assert list(progress(range(3), "fit", 3)) == [0, 1, 2]
    assert "3/3" in stream.getvalue()
