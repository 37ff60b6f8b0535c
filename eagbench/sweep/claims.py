"""Who runs which trial, when several processes share a storage and any of them may die.

Optuna's heartbeat exists for databases only. So each running trial carries a lease of our own, which its process
renews. A trial whose lease is not renewed is marked failed (`lost`), and its parameters are tried again in a new trial.

An exact number of finished trials needs no lock. Trials get rising numbers as they are created. A process creates a
trial, then counts. If the finished trials and the running ones with smaller numbers already make up the wanted number,
it gives its own trial back (`surplus`). Among running trials, only those that still have a place go on, because the
one with the largest number has counted all others. Optuna lets a trial finish only once. So if a process was taken for
dead and wakes up again, its result is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from eagbench.config.secrets import masked_text
from eagbench.execution.process_identity import is_gone, this_process

LEASE_SECONDS = 60.0
# A trial that takes its process with it (memory) is not tried for ever.
MAX_ATTEMPTS = 3
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial that this process runs.

    Attributes:
        trial_id: Its id in the storage.
        number: Its number in the study.
    """

    trial_id: int
    number: int


def finished(trials: Sequence[FrozenTrial]) -> int:
    """Count the finished trials, complete or pruned."""
    return sum(trial.state in _FINISHED for trial in trials)


class Claims:
    """Claims trials of one study for this process.

    Args:
        storage: The storage.
        study_name: The study's name.
        wanted: Number of finished trials.
        queue: Parameters of the trials to start with, each with its origin.
        lease_seconds: A lease expires if it is not renewed for this long.
    """

    def __init__(
        self,
        storage: BaseStorage,
        study_name: str,
        wanted: int,
        queue: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]] = (),
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._storage, self._wanted, self._queue = storage, wanted, tuple(queue)
        self._study_id = storage.get_study_id_from_name(study_name)
        self._lease_seconds = lease_seconds
        # By trial: its lease as last seen, and since when by this process's own clock: machines' clocks may differ.
        self._seen: dict[int, tuple[Any, float]] = {}

    def trials(self) -> list[FrozenTrial]:
        """Return all trials in their current state."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def all_done(self) -> bool:
        """Check whether the wanted number of trials is finished."""
        return finished(self.trials()) >= self._wanted

    def next(self) -> Claim | None:
        """Claim a trial; return None if all places are taken for now."""
        self._bury_lost()
        trials = self.trials()
        running = sum(trial.state == TrialState.RUNNING for trial in trials)
        if finished(trials) + running >= self._wanted:
            return None
        origin, fixed = self._pending(trials)
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            user_attrs={"origin": origin, "lease": _lease(0)},
            system_attrs={"fixed_params": fixed} if fixed else {},  # as Study.enqueue_trial has it
        )
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
        number = self._storage.get_trial_number_from_id(trial_id)
        trials = self.trials()
        before_me = [t for t in trials if t.number < number and not _failed_as(t, "surplus")]
        places_taken = finished(trials) + sum(t.state == TrialState.RUNNING for t in before_me)
        is_doubled = bool(origin) and any(t.user_attrs.get("origin") == origin for t in before_me)
        if is_doubled or places_taken >= self._wanted:
            self.fail(trial_id, "surplus", "another process had taken this place")
            return None
        return Claim(trial_id, number)

    def fail(self, trial_id: int, failure: str, reason: str) -> None:
        """Mark a running trial as failed; a trial that has ended meanwhile stays as it is."""
        try:
            self._storage.set_trial_user_attr(trial_id, "failure", failure)
            self._storage.set_trial_user_attr(trial_id, "reason", masked_text(reason))
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except optuna.exceptions.UpdateFinishedTrialError:
            return

    @contextmanager
    def renewed(self, claim: Claim) -> Iterator[None]:
        """Renew a trial's lease in the background."""
        stop = threading.Event()

        def renew() -> None:
            count = 0
            while not stop.wait(self._lease_seconds / 4):
                count += 1
                try:
                    self._storage.set_trial_user_attr(claim.trial_id, "lease", _lease(count))
                except optuna.exceptions.UpdateFinishedTrialError:
                    return  # taken for dead by another process; the trial's own thread meets the same refusal

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _bury_lost(self) -> None:
        now = time.monotonic()
        for trial in self.trials():
            if trial.state != TrialState.RUNNING:
                continue
            lease = trial.user_attrs.get("lease")
            known, since = self._seen.get(trial.number, (None, now))
            if trial.number not in self._seen or known != lease:
                self._seen[trial.number] = (lease, now)
                since = now
            if _holder_is_dead(lease) or now - since > self._lease_seconds:
                self.fail(trial._trial_id, "lost", "its process ended before the trial did")

    def _pending(self, trials: Sequence[FrozenTrial]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Choose the origin and parameters of the next trial: a lost one's, the queue's, or none yet."""
        taken = [trial.user_attrs.get("origin") for trial in trials if not _failed_as(trial, "surplus")]
        for trial in trials:
            origin = {"retry_of": trial.number}
            is_open = _failed_as(trial, "lost") and origin not in taken
            if is_open and _attempts(trial, trials) < MAX_ATTEMPTS:
                return origin, {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        for origin_of_queue, params in self._queue:
            if origin_of_queue not in taken:
                return dict(origin_of_queue), dict(params)
        return {}, {}


def _failed_as(trial: FrozenTrial, failure: str) -> bool:
    return trial.state == TrialState.FAIL and trial.user_attrs.get("failure") == failure


def _attempts(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    by_number = {t.number: t for t in trials}
    count = 1
    while (before := trial.user_attrs.get("origin", {}).get("retry_of")) is not None:
        trial, count = by_number[before], count + 1
    return count


def _lease(count: int) -> dict[str, Any]:
    return {**this_process(), "renewals": count}


def _holder_is_dead(lease: Any) -> bool:
    """Check whether the lease's process ran on this machine and is gone.

    For a process on another machine, only its lease can tell.
    """
    return bool(lease) and is_gone(lease)
