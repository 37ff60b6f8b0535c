"""Run a benchmark and write its run folder and report."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eagbench.config.loading import LoadedBenchmark, load_benchmark, validate_params
from eagbench.config.secrets import masked_text
from eagbench.config.yaml_source import Source, apply_set, set_value
from eagbench.contracts.executors import Executor
from eagbench.errors import UserError
from eagbench.execution.only_writer import only_writer
from eagbench.execution.private_files import close_places, keep_private, own_umask
from eagbench.execution.private_words import Discreet, PrivateWords
from eagbench.execution.progress import Reporter
from eagbench.execution.runner import RunResult, run_plan
from eagbench.execution.store import Store
from eagbench.execution.tracking import tracked
from eagbench.planning.access import is_credentialed
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.blame import refusing
from eagbench.registry.plugins import load_registry
from eagbench.runs.folder import begin, check_out, finish
from eagbench.runs.reader import RunFolder
from eagbench.runs.writer import write_run_folder
from eagbench.session.failed_cells import failure_lines


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked to run or to plan."""

    benchmark: Path
    sets: tuple[str, ...] = ()
    limit: int | None = None
    profile: str | None = None
    seeds: tuple[int, ...] | None = None

    def load(self) -> LoadedBenchmark:
        """Load and validate the benchmark."""
        return load_benchmark(self.benchmark, sets=self.sets, profile=self.profile, seeds=self.seeds)


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished run: its folder, the number of failures, and what to print."""

    folder: Path
    n_failed: int
    summary: str


# The parameter of an executor that a flag sets, and what an executor without it lacks.
_FLAGS = {
    "workers": "has no number of workers",
    "stage_timeout": "knows no time limit for stages",
    "scheduler": "connects to no scheduler",
    "cluster": "reads no file about a cluster",
}


@refusing()
def make_executor(name: str, flags: Mapping[str, Any] | None = None, options: tuple[str, ...] = ()) -> Executor:
    """Make the executor that the user asked for.

    Args:
        name: Its name.
        flags: Parameters of the command's own flags (`workers`, `stage_timeout`, `scheduler`, `cluster`); None for the
            executor's default.
        options: Its other parameters, as `key=value`.

    Raises:
        UserError: No executor has that name, or a parameter does not fit.
    """
    component: Any = load_registry().get("executor", name, where="--executor").component
    source = Source()
    for key, value in (flags or {}).items():
        if value is None:
            continue
        where = f"--{key.replace('_', '-')} {value}"
        if key not in component.Params.model_fields:
            raise UserError(
                f"the executor '{name}' {_FLAGS[key]}",
                where=where,
                hint=f"an executor that does has a parameter `{key}`",
            )
        set_value(source, key, str(value) if isinstance(value, Path) else value, where)
    for option in options:
        apply_set(source, option, flag="--executor-option")
    executor: Executor = component(validate_params(component.Params, source.tree, source, ()))
    return executor


def run(request: Request, out: Path | None, executor: Executor, *, fresh: bool, quiet: bool) -> Finished:
    """Run a benchmark and write its run folder and report.

    Raises:
        UserError: The benchmark, the data or the output folder has a problem that the user can fix.
    """
    loaded = request.load()
    with own_umask():
        if is_credentialed(loaded, load_registry()):
            keep_private()
        return _run(loaded, request, out, executor, fresh=fresh, quiet=quiet)


def _run(
    loaded: LoadedBenchmark, request: Request, out: Path | None, executor: Executor, *, fresh: bool, quiet: bool
) -> Finished:
    name = loaded.benchmark.name
    folder = (out or Path("runs") / name).absolute()
    check_out(folder, name)
    store = Store.open()
    reporter = Reporter(quiet=quiet)
    plan = make_plan(loaded, load_registry(), store, limit=request.limit)
    say_notes(plan)
    n_complete = 0 if fresh else sum(store.is_complete(node) for node in plan.nodes)
    reporter.say(f"{name}: {len(plan.nodes)} stages, {n_complete} of them in the store {store.root}")
    words = PrivateWords.of(plan, folder)
    if plan.trackers or words is not None:  # they are the first to write there
        begin(folder, name)
    if words is None:
        return _computed(plan, store, folder, executor, reporter, fresh=fresh)
    for notice in close_places(store, plan.nodes, folder):
        reporter.say(f"note: {notice}")
    with words.guarded():
        return _computed(plan, store, folder, Discreet(executor, words), reporter, fresh=fresh)


def _computed(
    plan: Plan, store: Store, folder: Path, executor: Executor, reporter: Reporter, *, fresh: bool
) -> Finished:
    with tracked(plan, store, folder, fresh=fresh) as settled:
        result = run_plan(plan, store, reporter, fresh=fresh, executor=executor, settled=settled)
    from eagbench.report.html import write_report
    from eagbench.report.text import headline
    from eagbench.report.unread_answers import terminal_lines

    begin(folder, plan.loaded.benchmark.name)  # so that whatever a kill leaves stands in a folder with a marker
    with only_writer(folder):
        manifest = write_run_folder(plan, result, store, folder)
        written = RunFolder(folder)
        page = write_report(written)
        lines = [headline(written), *terminal_lines(written), ""]
        finish(folder)
    count = {status: sum(o.status == status for o in result.outcomes.values()) for status in ("computed", "reused")}
    lines.append(f"stages: {count['computed']} computed, {count['reused']} reused")
    lines += failure_lines(manifest["failed"])
    lines += _tracebacks(result, folder)
    lines.append(f"run folder: {folder}")
    lines.append(f"report: {page}")
    lines.append(f"single cases: eagbench show {folder}")
    return Finished(folder, len(manifest["failed"]), "\n".join(lines))


def _tracebacks(result: RunResult, folder: Path) -> list[str]:
    """Say where the tracebacks of failed stages are."""
    is_kept = any(outcome.status == "failed" and outcome.details for outcome in result.outcomes.values())
    return [f"tracebacks: {folder / 'log.jsonl'}, `traceback` of each failed stage"] if is_kept else []


def say_notes(plan: Plan) -> None:
    """Print a plan's notes on stderr."""
    for note in plan.notes:
        print(masked_text(f"note: {note}"), file=sys.stderr)
