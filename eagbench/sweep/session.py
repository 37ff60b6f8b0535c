"""A sweep prepared in one process: everything is validated, its cases are chosen, and its study is open."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage

import eagbench
from eagbench.config.loading import LoadedBenchmark, read_benchmark, validate_benchmark
from eagbench.config.secrets import masked, note_secrets
from eagbench.config.yaml_source import Source
from eagbench.contracts.stages import StageNode, content_hash
from eagbench.errors import UserError
from eagbench.execution.computing import compute_stage, displayed
from eagbench.execution.private_files import close_places, keep_private
from eagbench.execution.private_words import FOLDER as PRIVATE
from eagbench.execution.private_words import PrivateWords
from eagbench.execution.progress import Reporter
from eagbench.execution.runner import SharedStageError
from eagbench.execution.store import Store
from eagbench.planning.access import is_credentialed
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.plugins import load_registry
from eagbench.runs.schema import MARKER as RUN_MARKER
from eagbench.stages.cohort_files import read_facts
from eagbench.sweep.defaults import default_drawn
from eagbench.sweep.division import NestedSplit, choose_division
from eagbench.sweep.file import LoadedSweep, load_sweep
from eagbench.sweep.folder import SweepRecord, begun, held_sweep
from eagbench.sweep.objectives import resolve_objectives
from eagbench.sweep.rungs import resolve_rungs
from eagbench.sweep.sampling import make_pruner, make_sampler
from eagbench.sweep.space import Space
from eagbench.sweep.storage import JOURNAL, open_storage, open_study, resolved, shown
from eagbench.sweep.trial_plan import TrialPlanner


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What the user asked to sweep.

    Attributes:
        file: The sweep's file.
        out: The sweep's folder, None for `sweeps/<name>`.
        sets: Assignments to the benchmark, applied after the sweep's own.
        trials: Number of finished trials, instead of the file's.
        limit: Patients to take before the split, instead of the file's.
        storage: A journal file or a URL, None for the folder's own journal.
        timeout: Seconds after which no trial is started.
        quiet: Print results only.
    """

    file: Path
    out: Path | None = None
    sets: tuple[str, ...] = ()
    trials: int | None = None
    limit: int | None = None
    storage: str | None = None
    timeout: float | None = None
    quiet: bool = False


# Where each trial to begin with comes from, and its parameters.
Queue = tuple[tuple[dict[str, Any], dict[str, Any]], ...]


@dataclass(frozen=True, slots=True)
class Session:
    """A sweep that is ready to run.

    Attributes:
        loaded: The sweep's file.
        benchmark: Its benchmark as written.
        plan: The benchmark's plan, with its held-out part.
        planner: Makes the plans of trials.
        record: The sweep as resolved.
        steps: Seed and division of each plan of a trial, or of each of its rungs.
        queue: Parameters of the trials to start with, and the origin of each.
        folder: The sweep's folder.
        storage_place: Where the study is stored, with a password if there is one.
        storage: The storage.
        study: The study, for reading.
        reporter: Prints progress.
    """

    loaded: LoadedSweep
    benchmark: LoadedBenchmark
    plan: Plan
    planner: TrialPlanner
    record: SweepRecord
    steps: tuple[tuple[int, NestedSplit], ...]
    queue: Queue
    folder: Path
    storage_place: str = field(repr=False)
    storage: BaseStorage
    study: optuna.Study
    reporter: Reporter


def open_session(request: SweepRequest) -> Session:
    """Validate a sweep, load and divide its data, and open its study.

    Raises:
        UserError: The sweep has a problem that the user can fix; no trial has started.
    """
    note_secrets(request.storage)
    loaded = load_sweep(request.file)
    sweep = loaded.sweep
    source, benchmark = _benchmark(request, loaded)
    registry = load_registry()
    if is_credentialed(benchmark, registry):
        keep_private()
    store = Store.open()
    limit = request.limit or sweep.limit
    space = Space(loaded)
    for fixed in sweep.fixed_trials:
        _check_fixed(fixed, space, loaded)
    make_sampler(loaded)
    make_pruner(loaded)
    objectives = resolve_objectives(loaded, benchmark, space, registry)
    plan = make_plan(benchmark, registry, store, limit=limit)
    [domain] = plan.transfer.domains
    rungs = resolve_rungs(loaded, benchmark, space, objectives)
    folder = (request.out or Path("sweeps") / sweep.name).absolute()
    words = PrivateWords.of(plan, folder)
    planner = TrialPlanner(source, sweep.profile, space, objectives, registry, store, rungs, words)
    # Any division serves to validate; which one it will be is known when the data are loaded.
    _check_values(planner, NestedSplit(domain.split, "cross_validation", sweep.tuning_folds, 0), benchmark)

    _check_folder(folder, sweep.name)
    reporter = Reporter(quiet=request.quiet)
    if words is not None:
        for notice in close_places(store, plan.nodes, folder):
            reporter.say(f"note: {notice}")
    for node in (*domain.cohort.upstream(), domain.cohort, domain.split):
        _settle(node, store, reporter, words)
    tuning, divisions = choose_division(domain.split, store.folder(domain.split), sweep.tuning_folds)
    queue, reason = _queue(loaded, benchmark, planner, reporter)
    storage_place = resolved(request.storage or loaded.storage)
    record = SweepRecord(
        name=sweep.name,
        fingerprint=_fingerprint(loaded, benchmark, domain.cohort, limit),
        benchmark=sweep.benchmark,
        benchmark_name=benchmark.benchmark.name,
        domain=domain.name,
        is_synthetic=domain.access == "synthetic",
        task=str(read_facts(store.folder(domain.cohort))["task"]["name"]),
        objectives=tuple(objective.record for objective in objectives),
        space={path: dict(source_spec) for path, source_spec in loaded.source.tree["space"].items()},
        sampler={"name": sweep.sampler.name, **sweep.sampler.params},
        pruner={"name": sweep.pruner.name, **sweep.pruner.params},
        trials=request.trials or sweep.trials,
        seeds=benchmark.benchmark.seeds,
        limit=limit,
        tuning=tuning,
        default=reason is None,
        default_reason=reason,
        storage=shown(storage_place),
        eagbench=eagbench.__version__,
        rungs=None if rungs is None else {rungs.path: rungs.values},
    )
    steps = tuple((seed, division) for seed in record.seeds for division in divisions)
    directions = [objective.direction for objective in record.objectives]
    with begun(folder, sweep.name):
        storage = open_storage(storage_place, folder)
        study = open_study(storage, record.name, directions, record.fingerprint, str(request.file))
    return Session(
        loaded, benchmark, plan, planner, record, steps, queue, folder, storage_place, storage, study, reporter
    )


def _benchmark(request: SweepRequest, loaded: LoadedSweep) -> tuple[Source, LoadedBenchmark]:
    """Read the benchmark of a sweep, and refuse one that a sweep can't tune on."""
    sweep = loaded.sweep
    if not loaded.benchmark.is_file():
        raise UserError(
            f"there is no benchmark {loaded.benchmark}",
            where=loaded.place("benchmark"),
            hint="the path is seen from the folder of the sweep's file",
        )
    source = read_benchmark(
        loaded.benchmark, sets=(*sweep.set, *request.sets), profile=sweep.profile, seeds=sweep.seeds
    )
    benchmark = validate_benchmark(source, sweep.profile)
    if benchmark.benchmark.split.folds is not None:
        raise UserError(
            "a sweep needs held-out patients, and with `split: {folds: ...}` each one is held out once",
            where=benchmark.place("split"),
            hint="give the sweep `set: ['split={train: 0.7, tuning: 0.1, held_out: 0.2}']`",
        )
    if benchmark.benchmark.transfer is not None:
        raise UserError(
            "a sweep tunes on one data set, and this benchmark has several domains",
            where=benchmark.place("transfer"),
            hint="sweep a benchmark with `data` alone; its best configuration can then be tried in the transfer",
        )
    return source, benchmark


def _queue(
    loaded: LoadedSweep, benchmark: LoadedBenchmark, planner: TrialPlanner, reporter: Reporter
) -> tuple[Queue, str | None]:
    """Collect the parameters of the trials to start with.

    Returns:
        The queue, and why the benchmark as written is not in it; None if it is.
    """
    space, reason = planner.space, None
    queue: list[tuple[dict[str, Any], dict[str, Any]]] = []
    try:
        default = default_drawn(space, benchmark, planner.registry)
        if planner.rungs is not None:
            planner.rungs.check_written(benchmark, planner.registry)
        queue.append(({"default": True}, default))
    except ValueError as error:
        reason = str(error)
        reporter.say(f"the benchmark as written is not in the space, and not among the trials: {reason}")
    for i, fixed in enumerate(loaded.sweep.fixed_trials):
        queue.append(({"fixed": i}, {path: space[path].drawn_of(value) for path, value in fixed.items()}))
    return tuple(queue), reason


def _check_fixed(fixed: dict[str, Any], space: Space, loaded: LoadedSweep) -> None:
    index = loaded.sweep.fixed_trials.index(fixed)
    paths = [parameter.path for parameter in space]
    for path, value in fixed.items():
        where = loaded.place("fixed_trials", index, path)
        if path not in paths:
            raise UserError(f"'{path}' is not in the space", where=where, hint=f"choices: {', '.join(paths)}")
        try:
            space[path].drawn_of(value)
        except ValueError as error:
            raise UserError(f"'{path}': {error}", where=where) from error


def _check_values(planner: TrialPlanner, split: NestedSplit, benchmark: LoadedBenchmark) -> None:
    """Plan the benchmark at both ends and every choice of each parameter, and at every rung."""
    seed = benchmark.benchmark.seeds[0]
    for rung in range(0 if planner.rungs is None else len(planner.rungs.values)):
        planner.plan({}, seed, split, rung)
    for values in planner.space.probes():
        planner.plan(values, seed, split)


def _settle(node: Any, store: Store, reporter: Reporter, words: PrivateWords | None) -> None:
    with reporter.signs(one_by_one=True).of(displayed(node)) as progress:
        outcome = compute_stage(node, store, fresh=False, progress=progress)
    if words is not None:
        outcome = words.outcome(node, outcome)
    if outcome.error is not None:
        raise outcome.error
    if outcome.status == "failed":
        raise SharedStageError(f"stage {node.kind} '{node.label}' failed\n\n{outcome.details}")


def _check_folder(folder: Path, name: str) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError("the output is a file, not a folder", where=str(folder), hint="choose another --out")
    held = held_sweep(folder)
    if held is not None:
        if held != name:
            raise UserError(
                f"the folder holds the sweep '{held}', not '{name}'",
                where=str(folder),
                hint="choose another --out",
            )
    elif folder.is_dir() and any(_is_of_others(path) for path in folder.iterdir()):
        raise UserError(
            "the output folder holds files and is not a sweep's folder", where=str(folder), hint="choose another --out"
        )


def _is_of_others(path: Path) -> bool:
    # A journal alone is that of a sweep of an earlier version, killed at its beginning.
    # The words of an error that came before the marker are not another's either.
    return path.name == RUN_MARKER or not path.name.startswith((".", JOURNAL, PRIVATE))


def _fingerprint(loaded: LoadedSweep, benchmark: LoadedBenchmark, cohort: StageNode, limit: int | None) -> str:
    """Hash everything that makes trials comparable.

    Data that were moved are the same data. Sampler and number of trials may change.
    """
    left_out = ("data", "profiles", "trackers", "description", "comparisons", "intervals")
    use, tree = cohort.component, benchmark.source.tree
    assert use is not None
    return content_hash(
        {
            "benchmark": {key: masked(value, key) for key, value in tree.items() if key not in left_out},
            "data": [use.name, dict(use.params), cohort.content],
            "limit": limit,
            "space": loaded.source.tree["space"],
            "objectives": loaded.source.tree["objectives"],
            "tuning_folds": loaded.sweep.tuning_folds,
            # Not there without them, so that the sweeps of before go on.
            **({} if loaded.sweep.rungs is None else {"rungs": loaded.source.tree["rungs"]}),
        }
    )
