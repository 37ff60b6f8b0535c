"""Actions at regular times: all from one thread, none after its block, and none that has said that it is over."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

from eagbench.execution.repeated import repeated


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Action:
    """Notes the threads that call it, and says a number of times that it goes on."""

    def __init__(self, times: int = 10**9) -> None:
        self.threads: list[int] = []
        self.times = times

    def __call__(self) -> bool:
        self.threads.append(threading.get_ident())
        return len(self.threads) < self.times


def test_all_actions_are_called_from_one_thread_beside_the_work() -> None:
    often, seldom = Action(), Action()
    with repeated(seldom, 0.05), repeated(often, 0.01):  # the second one is due before the thread would have woken up
        wait_for(lambda: len(often.threads) >= 5 and len(seldom.threads) >= 2)
    assert {*often.threads} == {*seldom.threads}
    assert threading.get_ident() not in often.threads
    assert len(often.threads) > len(seldom.threads)


def test_no_action_is_called_after_its_block() -> None:
    over, other = Action(), Action()
    with repeated(over, 0.01):
        wait_for(lambda: bool(over.threads))
    with repeated(other, 0.01):
        wait_for(lambda: len(other.threads) >= 2)  # a call that was under way at the end of the block is over now
        count = len(over.threads)
        wait_for(lambda: len(other.threads) >= 6)
    assert len(over.threads) == count


def test_an_action_that_is_over_is_not_called_again_and_the_thread_ends_with_the_last_one() -> None:
    over, other = Action(times=2), Action()
    with repeated(over, 0.01), repeated(other, 0.01):
        wait_for(lambda: len(other.threads) >= 8)
        assert len(over.threads) == 2
    wait_for(lambda: all(thread.name != "repeated" for thread in threading.enumerate()))
    with repeated(again := Action(), 0.01):  # another one is started
        wait_for(lambda: bool(again.threads))


FORKED = """\
import os, time
from eagbench.execution.repeated import repeated

def noted():
    calls.append(os.getpid())
    return True

calls = []
with repeated(noted, 0.01):
    child = os.fork()
    if child == 0:
        with repeated(noted, 0.01):
            end = time.monotonic() + 60
            while os.getpid() not in calls and time.monotonic() < end:
                time.sleep(0.005)
        os._exit(0 if os.getpid() in calls else 1)
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_has_a_thread_of_its_own() -> None:
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], timeout=120, check=False).returncode == 0
