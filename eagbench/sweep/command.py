"""What `eagbench sweep` does: it prepares the sweep, lets processes work on it and writes its folder."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from optuna.trial import FrozenTrial, TrialState

from eagbench.config.secrets import masked_text
from eagbench.errors import Stopped
from eagbench.execution.full_disk import EXIT_DISK_FULL, DiskFullError, as_disk_full
from eagbench.execution.only_writer import only_writer
from eagbench.execution.private_files import own_umask
from eagbench.execution.processes import begin_worker, end_processes
from eagbench.execution.whole_files import write_text
from eagbench.sweep.best import best_trials, check_one_method, write_best, write_evaluation
from eagbench.sweep.claims import finished
from eagbench.sweep.folder import EVALUATION, MARKER, SWEEP
from eagbench.sweep.loop import work
from eagbench.sweep.session import Session, SweepRequest, open_session
from eagbench.sweep.storage import shown
from eagbench.sweep.tables import stage_sums, write_tables

_EXIT_BUG = 70
_SQLITE_WARNING = (
    'Optuna: "We would never recommend SQLite3 for parallel optimization." Leave --storage out, or take PostgreSQL'
)


@dataclass(frozen=True, slots=True)
class FinishedSweep:
    """How a sweep ended: its folder, what to print, and what caused trials to fail (`user`, `bug`)."""

    folder: Path
    summary: str
    failed_by: frozenset[str]


# Runs a benchmark: its file, a limit of patients, the run folder, whether to be quiet. Returns what is to be printed.
Evaluate = Callable[[Path, int | None, Path, bool], str]


def sweep(request: SweepRequest, *, jobs: int, evaluate_best: Evaluate | None) -> FinishedSweep:
    """Run or continue a sweep, and write its folder and report.

    Args:
        request: The sweep.
        jobs: Number of processes on this machine that work on it.
        evaluate_best: Runs the best trial's benchmark on held-out cases at the end; None for no evaluation.

    Raises:
        UserError: The sweep, its benchmark or its data have a problem that the user can fix.
    """
    deadline = None if request.timeout is None else time.monotonic() + request.timeout
    with own_umask():
        session = open_session(request)
        with _words_apart(session):
            return _sweep(request, session, jobs, deadline, evaluate_best)


def _words_apart(session: Session) -> AbstractContextManager[None]:
    words = session.planner.words
    return nullcontext() if words is None else words.guarded()


def _sweep(
    request: SweepRequest, session: Session, jobs: int, deadline: float | None, evaluate_best: Evaluate | None
) -> FinishedSweep:
    if evaluate_best is not None:
        check_one_method(session)
    write_text(session.folder / SWEEP, session.record.text())
    (session.folder / MARKER).unlink(missing_ok=True)
    known = {trial.number for trial in session.study.get_trials(deepcopy=False)}
    _announce(session, jobs, len(known))
    try:
        if jobs > 1:
            _in_processes(request, jobs, deadline, session.folder)
        work(session, deadline)  # with several jobs only if one of them was killed
    finally:
        _write_tables(session)
    return _finish(session, known, evaluate_best)


def _announce(session: Session, jobs: int, n_known: int) -> None:
    record = session.record
    scored = (
        f"the tuning part: {record.tuning.n_cases} cases, {record.tuning.n_positive} positive"
        if record.tuning.scheme == "tuning_part"
        else f"{record.tuning.folds} folds of the training and tuning part: {record.tuning.n_cases} cases, "
        f"{record.tuning.n_positive} positive"
    )
    already = f", {n_known} trials in the study so far" if n_known else ""
    rungs = session.planner.rungs
    climbing = "" if rungs is None else f", over {len(rungs.values)} rungs of {rungs.path}"
    session.reporter.say(
        f"{record.name}: {record.trials} trials on {record.domain}, scored on {scored}{climbing}{already}"
    )
    if record.storage.startswith("sqlite") and jobs > 1:
        session.reporter.say(_SQLITE_WARNING)


def _work_alone(request: SweepRequest, deadline: float | None) -> None:
    """Work until enough trials are finished, or until the process that started this one says stop."""
    begin_worker()
    signal.signal(signal.SIGTERM, _stop)
    try:
        session = open_session(request)
        with _words_apart(session):
            work(session, deadline)
    except Stopped:
        return  # its trial is marked as lost, so whoever goes on tries it again
    except Exception as error:  # noqa: BLE001 - a bug: shown as the command shows one, and the exit code tells the main process
        if as_disk_full(error) is not None:
            sys.exit(EXIT_DISK_FULL)  # the process that started this one says so
        print(masked_text(traceback.format_exc()), file=sys.stderr)
        sys.exit(_EXIT_BUG)


def _stop(signum: int, _: FrameType | None) -> None:
    signal.signal(signum, signal.SIG_IGN)
    raise Stopped(signum)


def _in_processes(request: SweepRequest, jobs: int, deadline: float | None, folder: Path) -> None:
    """Let processes work until each has ended.

    A killed process is not an error: its trial is tried again.

    Raises:
        RuntimeError: A process ended with a bug; its traceback is on stderr.
        DiskFullError: Nothing more can be written.
    """
    # Spawned, because a process that has started torch's or lightgbm's threads can't be forked safely.
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work_alone, args=(request, deadline)) for _ in range(jobs)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    except BaseException:
        end_processes([process for process in processes if process.pid is not None])
        raise
    if any(process.exitcode == EXIT_DISK_FULL for process in processes):
        raise DiskFullError("the disk is full, here or in the store", folder)
    broken = [process.pid for process in processes if (process.exitcode or 0) > 0]
    if broken:
        raise RuntimeError(f"processes {broken} of the sweep ended with an error, shown above")


def _write_tables(session: Session) -> None:
    with only_writer(session.folder):  # of two that end at once, the last to write has read the other's trials
        write_tables(session.folder, session.record, session.study.get_trials(deepcopy=False))


def _finish(session: Session, known: set[int], evaluate_best: Evaluate | None) -> FinishedSweep:
    with only_writer(session.folder):
        trials = session.study.get_trials(deepcopy=False)
        best = best_trials(session.study)
        written = write_best(session, best)
    n_finished = finished(trials)
    counted = stage_sums(trials)
    n = {status: sum(kind[status] for kind in counted.values()) for status in ("computed", "reused")}
    pruned = sum(trial.state == TrialState.PRUNED for trial in trials)
    lines = [f"{n_finished} of {session.record.trials} trials finished, {pruned} of them pruned"]
    lines += [_best_line(session, trial) for trial in best]
    lines.append(f"stages: {n['computed']} computed, {n['reused']} reused")
    failed = [
        trial
        for trial in trials
        if trial.number not in known
        and trial.user_attrs.get("failure") in ("user", "bug")
        and trial.state == TrialState.FAIL
    ]
    lines += [f"trial {trial.number} failed: {trial.user_attrs['reason']}" for trial in failed]
    if evaluate_best is not None and best and n_finished >= session.record.trials:
        lines += ["", _evaluate(session, best, evaluate_best)]
    from eagbench.sweep.report.html import write_report

    # As it was given: the record holds no password.
    with only_writer(session.folder):
        page = write_report(session.folder, session.storage_place)
    lines.append(f"sweep folder: {session.folder}")
    lines += [f"best: {path}" for path in written]
    lines.append(f"report: {page}")
    if session.record.storage.partition("://")[1]:
        lines.append(f"study: {session.record.name} in {shown(session.record.storage)}")
    return FinishedSweep(session.folder, "\n".join(lines), frozenset(t.user_attrs["failure"] for t in failed))


def _best_line(session: Session, trial: FrozenTrial) -> str:
    values = ", ".join(f"{o.name} {v:.4f}" for o, v in zip(session.record.objectives, trial.values, strict=True))
    parameters = ", ".join(f"{path}={value}" for path, value in trial.params.items())
    return f"best: trial {trial.number}, {values}: {parameters}"


def _evaluate(session: Session, best: list[FrozenTrial], evaluate: Evaluate) -> str:
    """Evaluate the best trials on held-out cases, and return the text to print."""
    benchmark = write_evaluation(session, best)
    return evaluate(benchmark, session.record.limit, session.folder / EVALUATION, session.reporter.quiet)
