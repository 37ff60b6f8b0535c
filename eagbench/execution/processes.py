"""How processes end: a worker with its parent, and a command that is told to stop, at once and with its workers."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from functools import cache
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, ClassVar

from eagbench.errors import STOPS, Stopped

# A stopped command has so long to end by itself.
GRACE_SECONDS = 3.5
# And within it, the processes that it started.
_WORKERS_GRACE_SECONDS = 1.5
_WAKE_SECONDS = 0.1
# What threads a plugin leaves behind have so long to end after the command.
LEFT_SECONDS = 5.0


class StopSignals:
    """While entered, SIGINT and SIGTERM raise `Stopped` in the main thread, once, and end the process in any case.

    A thread says so at once and ends the process after `GRACE_SECONDS`, because the main thread may be in a long call
    of a library in C, or wait at its end for threads that wait for a server. Whatever is written survives a kill.

    Attributes:
        goes_on: How to go on afterwards; printed after the cause.
    """

    came: ClassVar[int | None] = None  # the signal that came to this process, whoever swallowed what it raised

    def __init__(self) -> None:
        self.goes_on = ""
        self._signum: int | None = None
        self._main = threading.main_thread().ident or 0
        self._lock, self._has_said = threading.Lock(), False
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> StopSignals:
        """Take the signals over; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return self
        StopSignals.came = None
        told, tells = socket.socketpair()
        tells.setblocking(False)
        self._undo.callback(tells.close)  # which ends the thread
        self._undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False))
        for signum in STOPS:
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as nohup and the shell's `&` have it
                self._undo.callback(signal.signal, signum, signal.signal(signum, self._stop))
        threading.Thread(target=self._guard, args=(told,), name="stop signals", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back, unless one came: then further ones change nothing and the thread stands guard.

        Raises:
            Stopped: A signal came, whether or not somebody on the way swallowed what it raised.
        """
        if self._signum is None:
            self.goes_on = ""
            self._undo.close()
            return
        self._say(self._signum)
        raise Stopped(self._signum) from None

    def _stop(self, signum: int, _: FrameType | None) -> None:
        if self._signum is None:
            self._signum = StopSignals.came = signum
            raise Stopped(signum)

    def _guard(self, told: socket.socket) -> None:
        """Wait for a signal, which wakes this thread whatever the main one does."""
        with told:
            while (came := told.recv(1)) and came[0] not in STOPS:
                pass
            if came:
                StopSignals.came = came[0]
                self._say(came[0])
                self._wake_main_thread(came[0])
                end_descendants()
                os._exit(128 + came[0])

    def _wake_main_thread(self, signum: int) -> None:
        """Give the main thread its time to end.

        The system hands a signal to any thread, so the main one may sleep on in `waitpid` or at a lock: it is woken
        until it has heard. And a library may have taken SIGINT over as one after which system calls go on, as polars
        does when it is imported.
        """
        signal.siginterrupt(signum, True)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(_WAKE_SECONDS)
            if self._signum is None:
                signal.pthread_kill(self._main, signum)

    def _say(self, signum: int) -> None:
        with self._lock:
            if not self._has_said:
                self._has_said = True
                cause = STOPS[signal.Signals(signum)]
                print("; ".join(filter(None, (cause, self.goes_on))), file=sys.stderr, flush=True)


def check_not_stopped() -> None:
    """Stop if a signal came, whoever swallowed what it raised: what was made since then may be half a result.

    Raises:
        Stopped: SIGINT or SIGTERM came.
    """
    if StopSignals.came is not None:
        raise Stopped(StopSignals.came)


def begin_worker() -> None:
    """Make this process a worker: it ends with its parent, and leaves the keyboard's Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """End this process as soon as the one that started it through `multiprocessing` has ended, even by SIGKILL.

    Without it, a worker of a pool waits for ever for work: it holds the other end of its own queue open. A second
    call, and one in a process that nobody started so, does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        _watch(parent, os.getpid())


@cache
def _watch(parent: Any, _: int) -> None:
    """Start the watching thread, once per process: a forked process inherits what is kept here but no thread."""

    def wait() -> None:
        parent.join()
        end_descendants()
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def end_descendants() -> None:
    """Kill all processes that this one started, and those that they started."""
    import psutil

    _kill(psutil.Process().children(recursive=True))


def leave_nothing_behind() -> None:
    """Have this process end all that it started when it ends itself, after all others that tidy up then."""
    atexit.register(_end_left_processes)


def end_soon(code: int) -> None:
    """Have this process end with a code, whatever threads a plugin left behind.

    Python waits at its end for every thread that is no daemon. They have `LEFT_SECONDS`.
    """

    def end() -> None:
        time.sleep(LEFT_SECONDS)
        left = [t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
        print(f"note: threads that a plugin left behind are ended: {', '.join(left) or 'none'}", file=sys.stderr)
        _end_left_processes()
        sys.stdout.flush()
        os._exit(code)

    threading.Thread(target=end, name="end", daemon=True).start()


def _end_left_processes() -> None:
    """Kill what this process started; the trackers of shared resources tidy up after it and end by themselves."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if not any("resource_tracker" in word for word in process.cmdline()):
                process.kill()


def end_processes(processes: Sequence[BaseProcess]) -> None:
    """End worker processes, by SIGTERM or where this does not help by SIGKILL, and all that they started."""
    import psutil

    started: list[Any] = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            started += psutil.Process(process.pid).children(recursive=True)
    for process in processes:  # all known by now: a pool ends its other workers as soon as it misses one
        process.terminate()
    deadline = time.monotonic() + _WORKERS_GRACE_SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
    _kill(started)


def portable(error: Exception) -> Exception:
    """Return an error that another process can read, with its traceback."""
    try:
        error.add_note(traceback.format_exc())
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever a class of a plugin does when it is pickled
        return RuntimeError(traceback.format_exc())
    return error


def _kill(processes: Sequence[Any]) -> None:
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
