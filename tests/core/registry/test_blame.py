"""Whatever is raised in a component's call names the component, its call and the line; the user's stop passes."""

from __future__ import annotations

import signal
from collections.abc import Callable

import numpy as np
import pytest

from eagbench.contracts.rules import ContractError
from eagbench.errors import Stopped, UserError
from eagbench.registry.blame import (
    ComponentError,
    RefusedComponentError,
    blamed,
    component_error,
    described,
    handed_out,
    listen,
    naming,
    refusing,
    remember,
)


class Inner:
    def judge(self) -> None:
        raise KeyError("lactate")


class Outer:
    def fit(self, fault: Callable[[], object]) -> None:
        self.help_to(fault)

    def help_to(self, fault: Callable[[], object]) -> None:
        fault()


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text")


@pytest.fixture(autouse=True)
def owners() -> None:
    remember(Outer, "the expert 'outer'")
    remember(Inner, "the reward 'inner'")


def failing(error: BaseException) -> Callable[[], None]:
    def fault() -> None:
        raise error

    return fault


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ZeroDivisionError("division\nby zero"), "ZeroDivisionError: division by zero"),
        (SystemExit(0), "SystemExit: 0"),
        (GeneratorExit(), "GeneratorExit"),
        (Unprintable(), "Unprintable: <its text can't be made>"),
        (MemoryError("\x1b[31m"), r"MemoryError: \\x1b"),
        (ValueError("x" * 10_000), r"x{2000}\.\.\. "),
    ],
)
def test_an_error_names_component_call_and_line(error: BaseException, text: str) -> None:
    with (
        pytest.raises(ComponentError, match=rf"^the expert 'outer' failed in fit: .*{text}.*\(.*blame.py, line \d+"),
        blamed("the method 'around'"),
    ):
        Outer().fit(failing(error))


def test_the_innermost_component_is_named() -> None:
    with (
        pytest.raises(ComponentError, match=r"^the reward 'inner' failed in judge: KeyError: 'lactate'"),
        blamed("the method 'around'"),
    ):
        Outer().fit(Inner().judge)


def test_without_a_component_in_the_traceback_the_stage_is_named() -> None:
    with (
        pytest.raises(ComponentError, match=r"^a stage of the method 'around' failed: KeyError: 1 \(.*blame.py, line"),
        blamed("the method 'around'"),
    ):
        raise KeyError(1)


def test_what_has_a_name_keeps_it() -> None:
    for error in (UserError("no file"), Stopped(signal.SIGTERM), ComponentError("the search 's'", "run", "x")):
        with pytest.raises(type(error)) as raised, blamed("the expert 'outer'"):
            raise error
        assert raised.value is error
    with (
        pytest.raises(ContractError, match=r"^the expert 'outer' breaks its contract in fit, data: bad"),
        blamed("the expert 'outer'"),
    ):
        raise ContractError("fit", "data", "bad")


def test_a_full_disk_is_nobodys_fault() -> None:
    with pytest.raises(OSError, match="No space left"), blamed("the expert 'outer'"):
        raise OSError(28, "No space left on device")


def test_ctrl_c_stops_only_where_nobody_has_taken_it_over() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt), blamed("the expert 'outer'"):
            Outer().fit(failing(KeyboardInterrupt()))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with pytest.raises(ComponentError, match="in fit: KeyboardInterrupt"), blamed("the expert 'outer'"):
            Outer().fit(failing(KeyboardInterrupt()))
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_write_into_an_input_is_a_broken_contract_of_the_writer() -> None:
    array = np.zeros(3)
    array.setflags(write=False)

    def write() -> None:
        array[0] = 1

    with (
        pytest.raises(ContractError, match=r"^the expert 'outer' breaks its contract in fit, inputs: .*read-only"),
        blamed("the method 'around'"),
    ):
        Outer().fit(write)


def test_before_anything_runs_a_broken_component_is_refused() -> None:
    with (
        pytest.raises(
            RefusedComponentError, match=r"(?s)the expert 'outer' failed in fit: SystemExit: 3.*leave it out"
        ) as raised,
        refusing(),
    ):
        Outer().fit(failing(SystemExit(3)))
    assert isinstance(raised.value.__cause__, SystemExit)  # whose traceback the command line prints
    for nobody in (refusing, naming):
        with pytest.raises(KeyError), nobody():
            raise KeyError(1)


def test_whose_calls_are_under_way_is_told() -> None:
    told: list[str] = []
    listen(told.append)
    try:
        with blamed("a"), blamed("b"):
            pass
    finally:
        listen(None)
    assert told == ["", "a", "b", "a", ""]


def test_a_text_of_many_lines_becomes_one() -> None:
    assert described(ValueError("a\n  b")) == "ValueError: a b"
    assert described(Exception()) == "Exception"


@handed_out
def given_to_components(fault: Callable[[], object]) -> object:
    return fault()


def raised_by(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except ZeroDivisionError as error:
        return error
    raise AssertionError


def test_a_component_is_not_blamed_for_what_it_was_given_to_call() -> None:
    fault, own_fault = failing(ZeroDivisionError()), failing(ZeroDivisionError())
    assert component_error(raised_by(lambda: Outer().fit(lambda: given_to_components(fault)))) is None
    own = component_error(raised_by(lambda: given_to_components(lambda: Outer().fit(own_fault))))
    assert own is not None
    assert (own.owner, own.call) == ("the expert 'outer'", "fit")
