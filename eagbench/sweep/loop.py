"""The loop of one process: claim a trial, run its seeds, folds and rungs, report, until enough trials are finished."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from eagbench.sweep.claims import Claim, Claims
from eagbench.sweep.rungs import Rungs
from eagbench.sweep.sampling import make_pruner, make_sampler
from eagbench.sweep.session import Session
from eagbench.sweep.space import Values
from eagbench.sweep.trial_plan import StageCount, TrialFailure

POLL_SECONDS = 0.5
# So many failed trials in a row mean that the next one fails as well.
MAX_FAILURES_IN_A_ROW = 3


def work(session: Session, deadline: float | None = None) -> None:
    """Run trials until the wanted number is finished, by this process or by others.

    Args:
        session: The sweep.
        deadline: Time on `time.monotonic` after which no trial is started.
    """
    claims = Claims(session.storage, session.record.name, session.record.trials, session.queue)
    failures = 0
    while not claims.all_done() and failures < MAX_FAILURES_IN_A_ROW:
        if deadline is not None and time.monotonic() >= deadline:
            return
        claim = claims.next()
        if claim is None:
            # Others have the last places; if one of them dies, its trial is taken up here.
            time.sleep(POLL_SECONDS)
            continue
        failures = 0 if _run(session, claims, claim) else failures + 1


def _run(session: Session, claims: Claims, claim: Claim) -> bool:
    """Run one trial, and return whether it ended well."""
    started = time.monotonic()
    try:
        with claims.renewed(claim):
            said = _measure(session, claim)
    except TrialFailure as failure:
        claims.fail(claim.trial_id, failure.by, failure.details or failure.reason)
        session.reporter.say(f"trial {claim.number}  failed: {failure.reason}")
        return False
    except UpdateFinishedTrialError:
        session.reporter.say(f"trial {claim.number}  taken for dead by another process; its result is not used")
        return True
    except BaseException as error:
        # Interrupted, or a bug of the sweep's own: the trial is not lost, whoever goes on tries it again.
        claims.fail(claim.trial_id, "lost", f"{type(error).__name__} before the trial's end")
        raise
    session.reporter.say(f"trial {claim.number}  {said}  {time.monotonic() - started:.1f} s")
    return True


def _measure(session: Session, claim: Claim) -> str:
    """Draw a trial's values and measure its seeds and folds, rung by rung, until the pruner stops it.

    Returns:
        How it ended, as text to print.
    """
    study = optuna.load_study(
        study_name=session.record.name,
        storage=session.storage,
        sampler=make_sampler(session.loaded, claim.number),
        pruner=make_pruner(session.loaded),
    )
    started = time.monotonic()
    trial = optuna.Trial(study, claim.trial_id)
    values = session.planner.space.draw(lambda parameter: parameter.suggest(trial))
    counts = StageCount()
    steps: list[dict[str, Any]] = []
    state = TrialState.COMPLETE
    rungs = session.planner.rungs
    if rungs is None:
        n_reports, unit = len(session.steps), "seeds and folds"
        reports = _by_seed_and_fold(session, values, counts, steps)
    else:
        n_reports, unit = len(rungs.values), "rungs"
        reports = _by_rung(session, rungs, values, counts, steps)
    means: list[float] = []
    for i, (reported, means) in enumerate(reports):
        if len(means) == 1 and _is_pruned(trial, reported, i) and i < n_reports - 1:
            state = TrialState.PRUNED
            break
    trial.set_user_attr("steps", steps)
    trial.set_user_attr("stages", counts.numbers())
    trial.set_user_attr("seconds", round(time.monotonic() - started, 3))
    study.tell(trial, means if state == TrialState.COMPLETE else None, state, skip_if_finished=True)
    numbers = ", ".join(
        f"{objective.name} {mean:.4g}" for objective, mean in zip(session.record.objectives, means, strict=True)
    )
    n = {status: sum(kind[status] for kind in counts.numbers().values()) for status in ("computed", "reused")}
    pruned = f"  pruned after {i + 1} of {n_reports} {unit}" if state == TrialState.PRUNED else ""
    return f"{numbers}{pruned}  stages: {n['computed']} computed, {n['reused']} reused"


def _by_seed_and_fold(
    session: Session, values: Values, counts: StageCount, steps: list[dict[str, Any]]
) -> Iterator[tuple[float, list[float]]]:
    """Measure a trial's seeds and folds, adding each to `steps`.

    Yields:
        After each, the value reported to the pruner, and the means so far.
    """
    # Wilcoxon's test pairs a trial's single values with the best trial's; the other pruners compare estimates.
    is_paired = session.record.pruner["name"] == "WilcoxonPruner"
    for seed, split in session.steps:
        measured = session.planner.measure(values, seed, split, counts, session.reporter)
        steps.append({"seed": seed, "fold": split.fold, "values": measured})
        means = _means(steps)
        yield (measured if is_paired else means)[0], means


def _by_rung(
    session: Session, rungs: Rungs, values: Values, counts: StageCount, steps: list[dict[str, Any]]
) -> Iterator[tuple[float, list[float]]]:
    """Measure all seeds and folds of a trial rung by rung, adding each to `steps`.

    Yields:
        After each rung, the value reported to the pruner, and the means over this rung alone.
    """
    for rung, value in enumerate(rungs.values):
        here = []
        for seed, split in session.steps:
            measured = session.planner.measure(values, seed, split, counts, session.reporter, rung)
            here.append({"rung": value, "seed": seed, "fold": split.fold, "values": measured})
        steps.extend(here)
        means = _means(here)
        yield means[0], means


def _means(steps: list[dict[str, Any]]) -> list[float]:
    return [float(mean) for mean in np.mean([step["values"] for step in steps], axis=0)]


def _is_pruned(trial: optuna.Trial, reported: float, step: int) -> bool:
    """Report a trial's value so far, and return whether the pruner stops it."""
    trial.report(reported, step)
    return trial.should_prune()
