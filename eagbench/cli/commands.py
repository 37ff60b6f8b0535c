"""What `plan`, `prompt`, `report`, `export` and `compare` do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from eagbench.contracts.executors import Executor, SubmitsJobs
from eagbench.errors import UserError
from eagbench.execution.needed import needed_stages
from eagbench.execution.private_files import is_private, keep_private, own_umask
from eagbench.execution.private_words import PrivateWords
from eagbench.execution.stage_files import MANIFEST
from eagbench.execution.store import Store, enumerated
from eagbench.execution.whole_files import write_text
from eagbench.planning.access import is_credentialed
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.plugins import load_registry
from eagbench.report.tables import Format
from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import read_manifest
from eagbench.session.running import Request, make_executor, run, say_notes


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


def evaluate(benchmark: Path, limit: int | None, out: Path, quiet: bool) -> str:
    """Run a benchmark that a sweep wrote, and return the text to print."""
    return run(Request(benchmark, limit=limit), out, make_executor("local"), fresh=False, quiet=quiet).summary


def describe_plan(request: Request, executor: Executor | None = None) -> str:
    """Describe the plan: every stage, its state in the store, and how long it took when last computed here.

    Args:
        request: The benchmark.
        executor: What would compute it; the script of its jobs is described, too, if it submits any.
    """
    loaded = request.load()
    with own_umask():
        if is_credentialed(loaded, load_registry()):
            keep_private()  # the store keeps hashes of the files
        store = Store.open()
        plan = make_plan(loaded, load_registry(), store, limit=request.limit)
    say_notes(plan)
    from eagbench.cli.prompts import prompt_lengths

    jobs: list[str] = ["", executor.job_script(plan.nodes)] if isinstance(executor, SubmitsJobs) else []
    return "\n".join([plan_text(plan, store), *prompt_lengths(plan, store), *jobs])


def show_prompt(request: Request, case_id: str, method: str | None) -> str:
    """Return the exact text that a method's policy reads about a case; see `prompts.show_prompt`.

    Args:
        request: The benchmark.
        case_id: The case.
        method: The method's label; with `=` and the name or file of a prompt, the method asks in that one.
    """
    from eagbench.cli import prompts

    label, _, style = (method or "").partition("=")
    if style:
        # Only unchanged records are shown, so a condition has no say in what may be asked.
        sets = (*request.sets, f"methods.{label}.style={style}", "conditions=[clean]")
        request = replace(request, sets=sets)
    store = Store.open()
    plan = make_plan(request.load(), load_registry(), store, limit=request.limit)
    say_notes(plan)
    return prompts.show_prompt(plan, store, case_id, label or None)


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
