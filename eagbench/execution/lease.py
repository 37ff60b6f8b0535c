"""A lease on a stage: which process works on it, on this machine or on another one that sees the same folder.

    <fingerprint>.lease         made by exclusive creation; names its holder, who touches it again and again
    <fingerprint>.after-TOKEN   made by exclusive creation: the right to take over from that holder

A lock of the operating system would do on one machine; over NFS or Lustre it may hold on one machine only, or not at
all. A holder on this machine that has ended is known by its process, and its lease is over at once. Any other lease is
over when its file was not touched for `LEASE_SECONDS`, by the file server's own clock: its time is compared with that
of a file touched just now in the same folder, because the clocks of machines differ.

A holder that was only asleep may wake up after another one has taken over. So each of them has a folder of its own, and
asks `check` whether the lease is still its own before it commits. If not, it discards its folder and takes what the
other one made. Where both are equally fast, a stage is done twice, with the same result.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from eagbench.execution.process_identity import is_gone, this_process
from eagbench.execution.repeated import repeated

LEASE_SECONDS = 60.0
_RENEWALS = 4  # in this time; and a lease that seems over is looked at again after one of them
_EMPTY_SECONDS = 2.0  # a lease without words whose maker died before it wrote them
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0  # between two looks at another's lease


class LeaseLostError(Exception):
    """Another process has taken the stage over, because this one did not renew its lease in time."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease.

    Attributes:
        token: Tells this holding from all others.
        folder: The name of the folder that it works in.
        seconds: The lease is over when it was not renewed for so long.
        process: Its process (`process_identity`).
        is_over: It has ended by itself and left its work in progress to the next one.
    """

    token: str = ""
    folder: str = ""
    seconds: float = LEASE_SECONDS
    process: Mapping[str, Any] = field(default_factory=dict)
    is_over: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether it is known to have ended, so that nobody writes into its folder any more."""
        return self.is_over or self._left_by_this_process or is_gone(self.process)

    @property
    def _left_by_this_process(self) -> bool:
        mine = all(self.process.get(key) == value for key, value in this_process().items())
        return mine and self.token not in _tokens


_held: dict[Path, Holder] = {}  # by stage: what this process holds
_tokens: set[str] = set()  # of these, and of those that it is taking or giving back at this moment


@contextmanager
def leased(stage: Path) -> Iterator[None]:
    """Hold the lease of a stage in the block; whoever holds it now is waited for.

    Args:
        stage: The stage's final folder; the lease is beside it.
    """
    token = uuid.uuid4().hex[:16]
    _tokens.add(token)
    try:
        holder, lapsed = _acquired(stage, token)
        _held[stage] = holder
        try:
            with repeated(partial(_renewed, stage, holder), holder.seconds / _RENEWALS):
                if lapsed is not None:
                    _copy(stage.with_name(lapsed.folder), stage.with_name(holder.folder))
                yield
        finally:
            del _held[stage]  # before another thread can hold it
            _release(stage, holder)
    finally:
        _tokens.discard(token)


def is_held(stage: Path) -> bool:
    """Say whether a process works on a stage, as far as this machine can tell without waiting."""
    holder = _read(_file(stage))
    return holder is not None and not holder.has_ended


def is_lost(stage: Path) -> bool:
    """Say whether this process held the lease of a stage, and another one has taken it over."""
    mine = _held.get(stage)
    return mine is not None and not _is_of(stage, mine)


def check(stage: Path) -> None:
    """Check that nobody has taken over what this process works on.

    Raises:
        LeaseLostError: Somebody has.
    """
    if is_lost(stage):
        raise LeaseLostError(f"another process has taken over {stage.parent.name}/{stage.name}")


def working_folder(stage: Path) -> Path:
    """Return the folder of a stage's work in progress: this process's own, or that of who holds the lease."""
    holder = _held.get(stage) or _read(_file(stage))
    return stage.with_name((holder and holder.folder) or _first_folder(stage))


def forget_predecessors(stage: Path) -> None:
    """Remove what holders left behind who did not renew their leases. The lease must be held."""
    if stage in _held and _held[stage].folder != _first_folder(stage):
        for folder in stage.parent.glob(f"{_first_folder(stage)}*"):
            shutil.rmtree(folder, ignore_errors=True)


def forget_waiting(stage: Path) -> None:
    """Remove what processes left behind that were killed while they waited for the lease, which must be held.

    Who waits at this moment makes its own again.
    """
    for pattern in (f"{stage.name}.after-*", _clock_name(stage, "*")):
        for path in stage.parent.glob(pattern):
            path.unlink(missing_ok=True)


def _file(stage: Path) -> Path:
    return stage.with_name(f"{stage.name}.lease")


def _clock_name(stage: Path, token: str) -> str:
    return f".{stage.name}.{token}.clock"


def _first_folder(stage: Path) -> str:
    return f"{stage.name}.partial"


def _acquired(stage: Path, token: str) -> tuple[Holder, Holder | None]:
    """Wait for the lease of a stage.

    Args:
        stage: The stage's final folder.
        token: Of this holding.

    Returns:
        This process as its holder, and the one before if its lease is over but its process may still run.
    """
    holder = Holder(token, _first_folder(stage), LEASE_SECONDS, this_process())
    pause = _SHORTEST_PAUSE
    with _Watch(stage, token) as watch:
        while not _created(_file(stage), holder):
            before = _read(_file(stage))
            if before is not None and before.has_ended:
                taken = replace(holder, folder=before.folder or holder.folder)
                if _taken_over(stage, before, taken, watch):
                    return taken, None
            elif before is not None and watch.has_lapsed(_file(stage), before):
                taken = replace(holder, folder=f"{holder.folder}-{token}")
                if _taken_over(stage, before, taken, watch):
                    return taken, before if before.folder else None
            else:
                time.sleep(pause)
                pause = min(1.5 * pause, _LONGEST_PAUSE)
    return holder, None


def _created(file: Path, holder: Holder) -> bool:
    """Make a file that does not exist yet, with its maker's name; False if it does."""
    try:
        place = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(place, "w") as stream:
        json.dump(asdict(holder), stream)
    return True


def _read(file: Path) -> Holder | None:
    """Read a lease; one without words has a holder without a name."""
    try:
        words = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return Holder(**json.loads(words))
    except (ValueError, TypeError):  # another eagbench's, if it has words
        return Holder(seconds=LEASE_SECONDS if words else _EMPTY_SECONDS)


def _is_of(stage: Path, holder: Holder) -> bool:
    found = _read(_file(stage))
    return found is not None and found.token == holder.token


def _taken_over(stage: Path, before: Holder, holder: Holder, watch: _Watch) -> bool:
    """Put another name into a lease that is over; of several processes that try it, one can."""
    right = stage.with_name(f"{stage.name}.after-{before.token}")
    if not _created(right, holder):
        other = _read(right)
        if other is not None and (other.has_ended or watch.has_lapsed(right, other)):
            right.unlink(missing_ok=True)  # it died in between
        return False
    try:
        return _is_of(stage, before) and _replaced(stage, holder)
    finally:
        right.unlink(missing_ok=True)


def _replaced(stage: Path, holder: Holder) -> bool:
    new = stage.with_name(f"{stage.name}.lease-{holder.token}")
    new.write_text(json.dumps(asdict(holder)))
    new.replace(_file(stage))
    return True


def _renewed(stage: Path, holder: Holder) -> bool:
    """Touch a lease as long as it is its holder's; say whether it is."""
    with contextlib.suppress(OSError):  # the file server may be away for a moment
        if not _is_of(stage, holder):
            return False
        os.utime(_file(stage))  # without times: the file server's own
    return True


def _release(stage: Path, holder: Holder) -> None:
    if not _is_of(stage, holder):
        return
    if holder.folder != _first_folder(stage) and stage.with_name(holder.folder).is_dir():
        _replaced(stage, replace(holder, is_over=True))  # where the next one finds the work in progress
    else:
        _file(stage).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Copy the work in progress of a holder that may wake up; nothing of it if it was written to meanwhile."""
    before = _stamps(source)
    try:
        shutil.copytree(source, target)
    except (OSError, shutil.Error):
        shutil.rmtree(target, ignore_errors=True)
    if before != _stamps(source):
        shutil.rmtree(target, ignore_errors=True)


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            facts = path.stat()
            found[str(path)] = (facts.st_mtime_ns, facts.st_size)
    return found


class _Watch:
    """Tells by the file server's clock how long a file was not touched.

    Args:
        stage: The stage's final folder.
        token: Whose watch it is.
    """

    def __init__(self, stage: Path, token: str) -> None:
        self._clock = stage.with_name(_clock_name(stage, token))
        self._seen: tuple[object, float] = (None, 0.0)

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._clock.unlink(missing_ok=True)

    def has_lapsed(self, file: Path, holder: Holder) -> bool:
        """Say whether a lease is over: it seemed so some time ago, and nobody has touched it since."""
        self._clock.touch()
        try:
            # Opened, so that a file system over the network asks its server and not its memory.
            with file.open("rb") as lease, self._clock.open("rb") as clock:
                touched, now = os.fstat(lease.fileno()).st_mtime, os.fstat(clock.fileno()).st_mtime
        except FileNotFoundError:
            return False
        if now - touched <= holder.seconds:
            return False
        if self._seen[0] != (file, holder.token, touched):
            self._seen = ((file, holder.token, touched), time.monotonic())
        return time.monotonic() - self._seen[1] >= holder.seconds / _RENEWALS
