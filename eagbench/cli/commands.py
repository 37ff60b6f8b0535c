"""What `run`, `plan`, `report` and `compare` do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from eagbench.config.loading import LoadedBenchmark, load_benchmark, validate_params
from eagbench.config.secrets import masked_text
from eagbench.config.yaml_source import Source, apply_set, set_value
from eagbench.contracts.components import Executor
from eagbench.errors import UserError
from eagbench.execution.needed import needed_stages
from eagbench.execution.private_files import close_places, is_private, keep_private, own_umask
from eagbench.execution.private_words import Discreet, PrivateWords
from eagbench.execution.progress import Reporter
from eagbench.execution.runner import run_plan
from eagbench.execution.stage_files import MANIFEST
from eagbench.execution.store import Store, enumerated
from eagbench.execution.tracking import tracked
from eagbench.execution.whole_files import write_text
from eagbench.planning.access import is_credentialed
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.blame import refusing
from eagbench.registry.plugins import load_registry
from eagbench.report.tables import Format
from eagbench.runs.folder import begin, check_out, finish
from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import read_manifest
from eagbench.runs.writer import write_run_folder

_NAMED_CELLS = 3


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


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """Parse a list of seeds such as `0,1,2`.

    Raises:
        UserError: The text is not such a list.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"{text!r} is not a list of seeds", where="--seeds", hint="write them as 0,1,2") from error


@refusing()
def make_executor(
    name: str, workers: int | None = None, stage_timeout: str | None = None, options: tuple[str, ...] = ()
) -> Executor:
    """Make the executor that the user asked for.

    Args:
        name: Its name.
        workers: Its parameter `workers`; None for its default.
        stage_timeout: Its parameter `stage_timeout`; None for its default.
        options: Its parameters, as `key=value`.

    Raises:
        UserError: No executor has that name, or a parameter does not fit.
    """
    component: Any = load_registry().get("executor", name, where="--executor").component
    source = Source()
    if workers is not None:
        set_value(source, "workers", workers, f"--workers {workers}")
    if stage_timeout is not None:
        where = f"--stage-timeout {stage_timeout}"
        if "stage_timeout" not in component.Params.model_fields:
            raise UserError(
                f"the executor '{name}' knows no time limit for stages",
                where=where,
                hint="an executor that does has a parameter `stage_timeout`, as `local`",
            )
        set_value(source, "stage_timeout", stage_timeout, where)
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
    _say_notes(plan)
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
    manifest = write_run_folder(plan, result, store, folder)
    from eagbench.report.html import write_report
    from eagbench.report.text import headline
    from eagbench.report.unread_answers import terminal_lines

    written = RunFolder(folder)
    page = write_report(written)
    finish(folder)
    count = {status: sum(o.status == status for o in result.outcomes.values()) for status in ("computed", "reused")}
    lines = [headline(written), *terminal_lines(written), ""]
    lines.append(f"stages: {count['computed']} computed, {count['reused']} reused")
    lines += _failures(manifest["failed"])
    lines.append(f"run folder: {folder}")
    lines.append(f"report: {page}")
    return Finished(folder, len(manifest["failed"]), "\n".join(lines))


def evaluate(benchmark: Path, limit: int | None, out: Path, quiet: bool) -> str:
    """Run a benchmark that a sweep wrote, and return the text to print."""
    return run(Request(benchmark, limit=limit), out, make_executor("local"), fresh=False, quiet=quiet).summary


def _failures(failed: Sequence[dict[str, Any]]) -> list[str]:
    """Write one line per reason, with the cells that failed for it."""
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for failure in failed:
        of_metric = failure["metric"] is not None
        what = f"metric {failure['metric']}" if of_metric else failure["stage"]
        by_reason.setdefault(f"{what}: {failure['reason']}", []).append(failure)
    lines = []
    for reason, cells in by_reason.items():
        more = f" and {len(cells) - _NAMED_CELLS} more cells" if len(cells) > _NAMED_CELLS else ""
        lines.append(f"failed: {'; '.join(map(_cell_name, cells[:_NAMED_CELLS]))}{more}: {reason}")
    return lines


def _cell_name(failure: dict[str, Any]) -> str:
    severity = "" if failure["severity"] is None else f" {failure['severity']:g}"
    return f"{failure['method']}, seed {failure['seed']}, {failure['condition']}{severity}"


def describe_plan(request: Request) -> str:
    """Describe the plan: every stage, its state in the store, and how long it took when last computed here."""
    loaded = request.load()
    with own_umask():
        if is_credentialed(loaded, load_registry()):
            keep_private()  # the store keeps hashes of the files
        store = Store.open()
        plan = make_plan(loaded, load_registry(), store, limit=request.limit)
    _say_notes(plan)
    from eagbench.cli.prompts import prompt_lengths

    return "\n".join([plan_text(plan, store), *prompt_lengths(plan, store)])


def show_prompt(request: Request, case_id: str, label: str | None) -> str:
    """Return the exact text that a method's policy reads about a case; see `prompts.show_prompt`."""
    from eagbench.cli import prompts

    store = Store.open()
    plan = make_plan(request.load(), load_registry(), store, limit=request.limit)
    _say_notes(plan)
    return prompts.show_prompt(plan, store, case_id, label)


def _say_notes(plan: Plan) -> None:
    for note in plan.notes:
        print(masked_text(f"note: {note}"), file=sys.stderr)


def plan_text(plan: Plan, store: Store) -> str:
    """List stages by kind and label, and sum up the time of those still to do."""
    lines = [f"{plan.loaded.benchmark.name}: {len(plan.nodes)} stages, {len(plan.cells)} cells", _threads(plan)]
    lines += [plan.policy_setup, ""] if plan.policy_setup else [""]
    known, unknown = 0.0, 0
    needed = needed_stages(plan, store)
    for node in plan.nodes:
        seed = "" if node.seed is None else f", seed {node.seed}"
        if store.is_whole(node):
            state = "in the store"
        elif node.fingerprint not in needed.stages:
            state = "not needed: what was made from it is in the store"
        else:
            seconds = store.seconds_of(node.kind, node.label)
            state = "to do" if seconds is None else f"to do, about {seconds:.0f} s"
            damage = needed.damaged.get(node.fingerprint)
            state += f"; damaged in the store: {enumerated(damage)}" if damage else ""
            known += seconds or 0.0
            unknown += seconds is None
        lines.append(f"{node.fingerprint[:12]}  {node.kind:<19} {node.label + seed:<52} {state}")
    left_out = sum(cell.score is None for cell in plan.cells)
    if left_out:
        lines.append(f"{left_out} cells are not applicable: their condition means nothing for what the method reads")
    lines += ["", f"to do: about {known:.0f} s by earlier runs on this machine, and {unknown} stages not timed yet"]
    return "\n".join(lines)


def _threads(plan: Plan) -> str:
    n_threads = plan.loaded.benchmark.threads
    return f"{n_threads} thread{'s' if n_threads > 1 else ''} per stage (`threads` in the benchmark), times `--workers`"


def report(folder: Path, format: str) -> str:
    """Write the HTML report of a run or a sweep again, or render its main tables."""
    with as_private_as(folder):
        return _report_of(folder, format)


def export(folder: Path, out: Path, minimum: int) -> str:
    """Write the bundle of a run that can be passed on, and return what to print.

    Raises:
        UserError: The run is not finished, the output exists, or everything is about a few cases.
    """
    from eagbench.report.export.bundle import export as write_bundle

    with as_private_as(folder):
        bundle = write_bundle(folder, out, minimum)
    return f"{bundle.summary}\n\nwritten: {bundle.path}, {len(bundle.files)} files: {', '.join(bundle.files)}"


@contextmanager
def as_private_as(*folders: Path) -> Iterator[None]:
    """Write files, and words of errors, as privately as the runs or sweeps that the block reads."""
    with own_umask(), ExitStack() as guards:
        for folder in folders:
            manifest = read_manifest(folder) if (folder / MANIFEST).is_file() else {}
            if manifest.get("access") == "credentialed":
                guards.enter_context(PrivateWords(folder, manifest.get("benchmark")).guarded())
                keep_private()
            elif folder.is_dir() and is_private(folder):
                keep_private()
        yield


def _report_of(folder: Path, format: str) -> str:
    from eagbench.sweep.folder import MARKER, SWEEP

    if (folder / SWEEP).is_file() or (folder / MARKER).is_file():
        from eagbench.sweep.report import html as of_sweep

        return _report(format, lambda: of_sweep.write_report(folder), lambda kind: of_sweep.render(folder, kind))
    from eagbench.report import html, text

    run = RunFolder(folder)
    return _report(format, lambda: html.write_report(run), lambda kind: text.render(run, kind))


def _report(format: str, write: Callable[[], Path], render: Callable[[Format], str]) -> str:
    if format == "html":
        return f"report: {write()}"
    if format not in get_args(Format):
        choices = ", ".join(("html", *get_args(Format)))
        raise UserError(f"there is no format '{format}'", where="--format", hint=f"choices: {choices}")
    return render(cast(Format, format))


def compare(
    first: Path, second: Path, metric: str | None, pairs: tuple[str, ...], conditions: tuple[str, ...], out: Path | None
) -> str:
    """Compare two runs.

    Returns:
        The table as text. It is also written to `out`, if given.

    Raises:
        UserError: The runs can't be compared, or the file can't be written.
    """
    from eagbench.report.run_comparison import check_format, render
    from eagbench.runs.compare import compare_runs

    if out is not None:
        check_format(out)
    with as_private_as(first, second):
        comparison = compare_runs(first, second, metric=metric, pairs=pairs, conditions=conditions)
        text = render(comparison, ".md")
        if out is None:
            return text
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, render(comparison, out.suffix))
    return f"{text}\nwritten: {out}"
