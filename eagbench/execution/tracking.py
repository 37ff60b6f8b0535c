"""Forward training curves to trackers, and block those that would send credentialed data away.

`trackers/heard.json` in the run folder records what the trackers have received, so that a run that was killed and
resumed, in any process, sends nothing twice. Each tracker has its own folder beside that file.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eagbench.contracts.read_only import read_only_mapping
from eagbench.contracts.stages import StageNode
from eagbench.contracts.traits import TrackerTraits, traits_of
from eagbench.execution.computing import Outcome
from eagbench.execution.runner import unheard
from eagbench.execution.store import Store
from eagbench.execution.training_files import CURVES, read_points, stage_names
from eagbench.execution.whole_files import write_text
from eagbench.planning.attestation import refuse_unattested
from eagbench.planning.plan import Plan
from eagbench.registry.blame import naming, refusing
from eagbench.registry.plugins import load_registry

TRACKERS = "trackers"  # in the run folder: the files of trackers that write to this machine
POLL_SECONDS = 2.0  # between two looks at the store
_STAGES = "stages"

Settled = Callable[[StageNode, Outcome], None]


@contextmanager
def tracked(plan: Plan, store: Store, folder: Path, *, fresh: bool) -> Iterator[Settled]:
    """Start the benchmark's trackers, send them curves while the run goes on, and finish them in any case.

    Args:
        plan: The plan to run.
        store: Where its stages work.
        folder: The run folder.
        fresh: Whether to forget what an earlier run left in this folder.

    Yields:
        The function to call with every stage that is done.

    Raises:
        UserError: A tracker would send numbers of credentialed records off the machine, or can't be started.
    """
    if not plan.trackers:
        yield unheard
        return
    trackers = make_trackers(plan)
    own = folder / TRACKERS
    if fresh:
        shutil.rmtree(own, ignore_errors=True)
    started: list[Any] = []
    try:
        for use, tracker in zip(plan.trackers, trackers, strict=True):
            place = own / use.name
            place.mkdir(parents=True, exist_ok=True)
            with refusing():
                tracker.start(plan.loaded.benchmark.name, place)
            started.append(tracker)
        with Follower(plan.nodes, stage_names(plan), store, trackers, own / "heard.json", fresh=fresh) as follower:
            yield follower.settled
    finally:
        for tracker in started:
            with naming():
                tracker.finish()


@refusing()
def make_trackers(plan: Plan) -> list[Any]:
    """Create the benchmark's trackers without starting them.

    Raises:
        UserError: A tracker would send numbers of credentialed records off the machine.
    """
    made = []
    for i, use in enumerate(plan.trackers):
        tracker = load_registry().create("tracker", use.name, {**use.params, **use.locations})
        if traits_of(tracker, TrackerTraits).leaves_machine and plan.access == "credentialed":
            refuse_unattested(plan.loaded, f"the tracker '{use.name}' sends numbers", "trackers", i)
        made.append(tracker)
    return made


class Follower:
    """Read the curves of unfinished stages from the store and pass new lines on.

    It watches the store, not the stages, so it does not matter which process or machine computes them. Trackers are
    called by one thread at a time. An error in one of them ends the run when the next stage is done.

    Args:
        nodes: The stages, in the plan's order.
        names: The name of each for trackers, by fingerprint.
        store: Where they work.
        trackers: The started trackers.
        record: The file that notes what they have received.
        fresh: Whether to skip work in progress from before this run, because it will be discarded.
    """

    def __init__(
        self,
        nodes: Sequence[StageNode],
        names: Mapping[str, str],
        store: Store,
        trackers: Sequence[Any],
        record: Path,
        *,
        fresh: bool = False,
    ) -> None:
        self._open = {node.fingerprint: node for node in nodes}
        self._position = {node.fingerprint: i + 1 for i, node in enumerate(nodes)}
        self._names, self._store, self._trackers, self._record = names, store, trackers, record
        self._not_before = time.time_ns() if fresh else 0
        self._seen: dict[Path, tuple[int, int]] = {}
        # Per stage and file: the last step passed on.
        self._heard: dict[str, int] = json.loads(record.read_text()) if record.is_file() else {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, name="trackers", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, raised: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and raised is None:
            raise self._error

    def settled(self, node: StageNode, outcome: Outcome) -> None:
        """Pass on the rest of a stage that is done, including one found in the store."""
        if self._error is not None:
            raise self._error
        with self._lock:
            self._open.pop(node.fingerprint, None)
            is_whole = outcome.status in {"computed", "reused"}
            self._pass_on(node, self._store.folder(node) if is_whole else self._store.partial(node))
            if outcome.status == "computed":
                self._tell(_STAGES, self._position[node.fingerprint], {"seconds": outcome.seconds})

    def _follow(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            with self._lock:
                try:
                    for node in self._open.values():
                        self._pass_on(node, self._store.partial(node))
                except BaseException as error:  # noqa: BLE001 - raised in the run's own thread, by `settled`
                    self._error = error
                    return

    def _pass_on(self, node: StageNode, folder: Path) -> None:
        for name in CURVES:
            path = folder / name
            try:
                stat = path.stat()
                state = (stat.st_mtime_ns, stat.st_size)
                if stat.st_mtime_ns < self._not_before or self._seen.get(path) == state:
                    continue
                points = list(read_points(path))
            except FileNotFoundError:
                continue  # not written yet, or the folder has just been given its final name: `settled` reads it there
            self._seen[path] = state
            key = f"{node.fingerprint}/{name}"
            for point in points:
                if point.step <= self._heard.get(key, -1):
                    continue
                # Note it first: a kill in between loses this line, but no line is ever sent twice.
                self._heard[key] = point.step
                write_text(self._record, json.dumps(self._heard, indent=1, sort_keys=True))
                self._tell(self._names[node.fingerprint], point.step, point.values)

    def _tell(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        if values:
            given = read_only_mapping(values)
            for tracker in self._trackers:
                with naming():
                    tracker.log(stage, step, given)
