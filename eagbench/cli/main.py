"""The command line: arguments in, exit codes out. The commands themselves are elsewhere, imported when needed."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from eagbench.cli.completion import complete_set, words_of_bash
from eagbench.cli.data.app import data_app
from eagbench.cli.output import say as _say
from eagbench.cli.plugins.app import plugins_app
from eagbench.cli.policy_app import policy_app
from eagbench.cli.show import RunFolder, show
from eagbench.cli.stopping import stop_signals
from eagbench.config.folders import default_root
from eagbench.errors import Stopped, UserError
from eagbench.execution.full_disk import EXIT_DISK_FULL, DiskFullError, as_disk_full
from eagbench.execution.processes import end_soon, leave_nothing_behind
from eagbench.execution.threads import use_one_thread

EXIT_CELLS_FAILED, EXIT_USER_ERROR, EXIT_BUG = 1, 2, 70

app = typer.Typer(
    name="eagbench",
    help="Benchmarks for language models that read health records: does a method read them better, more robustly, or "
    "in another hospital?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
store_app = typer.Typer(help="The store of finished stages.", no_args_is_help=True)
app.add_typer(plugins_app, name="plugins")
app.add_typer(data_app, name="data")
app.add_typer(policy_app, name="policy")
app.add_typer(store_app, name="store")
app.command()(show)


BenchmarkFile = Annotated[Path, typer.Argument(help="The benchmark's YAML file.", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", autocompletion=complete_set, help="Change a value, e.g. methods.lightgbm.seed=1."
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Take N patients before the split; the run is stamped.")]
Profile = Annotated[str | None, typer.Option(help="Lay one of the benchmark's profiles on it, e.g. quick.")]
Seeds = Annotated[str | None, typer.Option(metavar="0,1,2", help="Seeds instead of the benchmark's own.")]


@app.command()
def run(
    benchmark: BenchmarkFile,
    out: Annotated[Path | None, typer.Option(help="The run folder (default: runs/<name>).")] = None,
    sets: Sets = None,
    limit: Limit = None,
    profile: Profile = None,
    seeds: Seeds = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not read the store: compute everything anew.")] = False,
    executor: Annotated[str, typer.Option(help="What computes the stages: local, dask, slurm ...")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that work on stages (default: 1).")] = None,
    stage_timeout: Annotated[
        str | None,
        typer.Option(metavar="SECONDS", help="End a stage that takes longer, e.g. 90, 30m or 2h; its cells fail."),
    ] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="URL", help="dask: the scheduler, tcp://host:8786.")] = None,
    cluster: Annotated[Path | None, typer.Option(help="slurm: what each job asks for, a YAML file.")] = None,
    executor_options: Annotated[
        list[str] | None,
        typer.Option("--executor-option", metavar="KEY=VALUE", help="Another parameter of the executor."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the plan, and the job script of slurm, and stop.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the results only.")] = False,
) -> None:
    """Run a benchmark, or take up an interrupted one: finished stages are reused."""
    from eagbench.cli import commands
    from eagbench.session import running

    request = running.Request(benchmark, tuple(sets or ()), limit, profile, commands.parse_seeds(seeds))
    flags = {"workers": workers, "stage_timeout": stage_timeout, "scheduler": scheduler, "cluster": cluster}
    chosen = running.make_executor(executor, flags, tuple(executor_options or ()))
    if plan:
        _say(commands.describe_plan(request, chosen))
        return
    stop_signals.goes_on = "the same command takes up the work where it stopped"
    finished = running.run(request, out, chosen, fresh=fresh, quiet=quiet)
    _say(finished.summary)
    if finished.n_failed:
        raise typer.Exit(EXIT_CELLS_FAILED)


@app.command()
def plan(
    benchmark: BenchmarkFile, sets: Sets = None, limit: Limit = None, profile: Profile = None, seeds: Seeds = None
) -> None:
    """Print every stage of a benchmark, what the store holds of it, and what the rest may take."""
    from eagbench.cli import commands
    from eagbench.session.running import Request

    _say(commands.describe_plan(Request(benchmark, tuple(sets or ()), limit, profile, commands.parse_seeds(seeds))))


@app.command()
def prompt(
    benchmark: BenchmarkFile,
    case: Annotated[str, typer.Argument(help="The id of a case.", show_default=False)],
    method: Annotated[str | None, typer.Option(help="LABEL, or LABEL=PROMPT (default: the first that asks).")] = None,
    sets: Sets = None,
    limit: Limit = None,
    profile: Profile = None,
) -> None:
    """Print exactly what a method's policy reads about a case, and its tokens."""
    from eagbench.cli import commands
    from eagbench.session.running import Request

    stop_signals.goes_on = "the same command takes up the work where it stopped"
    request = Request(benchmark, tuple(sets or ()), limit, profile)
    typer.echo(commands.show_prompt(request, case, method))


@app.command()
def runs(folder: Annotated[Path, typer.Argument(help="Where to look, subfolders included.")] = Path("runs")) -> None:
    """List runs, the newest first: state, date, version, data, and each method's main number with its interval."""
    from eagbench.cli.run_list import list_runs

    _say(list_runs(folder))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder, or a sweep's.", show_default=False)],
    format: Annotated[str, typer.Option(help="html, md, latex or csv.")] = "html",
    cases: Annotated[bool, typer.Option("--cases", help="Write the page of a run's single cases, too.")] = False,
) -> None:
    """Write the report of a run or a sweep again, or print its main tables as Markdown, LaTeX or CSV."""
    from eagbench.cli import commands

    if cases:
        from eagbench.cli.cases import write_page

        _say(write_page(run))
    _say(commands.report(run, format))


@app.command()
def sweep(
    sweep: Annotated[Path, typer.Argument(help="The sweep's YAML file.", show_default=False)],
    trials: Annotated[int | None, typer.Option(min=1, help="Finished trials, instead of the file's number.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds after which no trial is begun.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A journal file, sqlite:///... or postgresql://... (default: in the folder)."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that run trials.")] = 1,
    out: Annotated[Path | None, typer.Option(help="The sweep's folder (default: sweeps/<name>).")] = None,
    sets: Sets = None,
    limit: Limit = None,
    evaluate_best: Annotated[
        bool, typer.Option("--evaluate-best", help="At the end, the best trial once on held-out cases.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the results only.")] = False,
) -> None:
    """Tune any path of a benchmark with Optuna, on tuning cases; or go on with an interrupted sweep."""
    from eagbench.cli import commands
    from eagbench.sweep.command import sweep as run_sweep
    from eagbench.sweep.session import SweepRequest

    request = SweepRequest(sweep, out, tuple(sets or ()), trials, limit, storage, timeout, quiet)
    stop_signals.goes_on = "the same command goes on with the sweep"
    finished = run_sweep(request, jobs=jobs, evaluate_best=commands.evaluate if evaluate_best else None)
    _say(finished.summary)
    if finished.failed_by:
        raise typer.Exit(EXIT_BUG if "bug" in finished.failed_by else EXIT_CELLS_FAILED)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="The run whose methods are judged.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="The run they are compared with.", show_default=False)],
    metric: Annotated[str | None, typer.Option(help="The metric to test first (default: the first run's own).")] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(metavar="FIRST=SECOND", help="Methods to compare (default: every label that both runs have)."),
    ] = None,
    condition: Annotated[list[str] | None, typer.Option(help="Only this condition, e.g. clean.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write a .csv, .md or .html file.")] = None,
) -> None:
    """Paired differences between two runs on the same cases, with intervals and corrected p-values."""
    from eagbench.cli import commands

    _say(commands.compare(first, second, metric, tuple(pair or ()), tuple(condition or ()), out))


@app.command()
def verify(run: RunFolder) -> None:
    """Recompute a run's tables from its answers; prove whose these are, and that no held-out patient was trained on."""
    from eagbench.cli.commands import as_private_as
    from eagbench.report.verification import check_report
    from eagbench.runs.verify.verify import verify as verify_run

    with as_private_as(run):
        findings = verify_run(run)
        check_report(run, findings)
    _say(findings.text())
    if not findings.passed:
        raise typer.Exit(EXIT_CELLS_FAILED)


@app.command()
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="A .zip file or a folder that does not exist yet.", show_default=False)],
    min_cell: Annotated[
        int, typer.Option(min=1, help="The smallest number of cases or events that is shown, beside 0.")
    ] = 11,
) -> None:
    """Make a bundle that can be passed on: aggregates without small cells, and a report without case data."""
    from eagbench.cli import commands

    _say(commands.export(run, out, min_cell))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a benchmark's YAML, with the parameters of every installed component."""
    from eagbench.cli import catalogue

    _say(catalogue.schema())


@app.command()
def doctor() -> None:
    """Say what this machine has: Python, libraries, devices, memory, store, plugins, data roots."""
    from eagbench.cli.doctor import examine

    findings = examine()
    _say(findings.text())
    if not findings.healthy:
        raise typer.Exit(EXIT_CELLS_FAILED)


@store_app.command("check")
def store_check(
    store: Annotated[Path | None, typer.Option(help="The store (default: $EAGBENCH_STORE, or your own).")] = None,
) -> None:
    """Hash every file of every finished stage, and name what was changed, is missing or does not belong there."""
    from eagbench.cli.store_check import check_store

    findings = check_store(store)
    _say(findings.text())
    if findings.damaged:
        raise typer.Exit(EXIT_CELLS_FAILED)


def program() -> None:
    """Run the command line as a process of its own, and leave neither threads nor processes of plugins behind."""
    leave_nothing_behind()
    code: object = None
    try:
        main()
    except SystemExit as stop:
        code = stop.code
        raise
    finally:
        end_soon(code if isinstance(code, int) else 0)


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 some cells failed, 2 the input is wrong, 70 a bug, 74 the disk takes no more, 130 Ctrl-C, 143
    SIGTERM.
    """
    use_one_thread()  # before anything imports numpy; a stage has as many as its benchmark declares
    goes_on = ""
    try:
        with stop_signals, words_of_bash():
            try:
                app(standalone_mode=True)
            finally:
                goes_on = stop_signals.goes_on
    except Stopped as stop:
        sys.exit(stop.exit_code)
    except BaseException as error:
        places = (default_root(), Path.cwd(), Path(os.environ.get("TMPDIR", "/tmp")))
        disk_full = as_disk_full(error, places) if isinstance(error, Exception) else None
        if disk_full is not None:
            _end_on_full_disk(disk_full, goes_on)
        if isinstance(error, UserError):
            if _is_of_component(error):
                _say("".join(traceback.format_exception(error.__cause__)), err=True)
            _say(f"error: {error.message}", err=True)
            sys.exit(EXIT_USER_ERROR)
        named = _component_error(error)
        if named is None and not isinstance(error, Exception):
            raise  # the end of the command, as typer has it
        _say(traceback.format_exc(), err=True)
        whose = "this is a bug in eagbench or in a plugin; please report it with the lines above"
        if named is not None:
            whose = f"error: {named}\n  a bug of that package, not of eagbench; what is finished is kept"
        _say(whose, err=True)
        sys.exit(EXIT_BUG)


def _is_of_component(error: UserError) -> bool:
    """Tell whether a component's own failure is refused: its author needs the traceback."""
    if "eagbench.registry.blame" not in sys.modules:
        return False
    from eagbench.registry.blame import RefusedComponentError

    return isinstance(error, RefusedComponentError)


def _component_error(error: BaseException) -> Exception | None:
    """Name the component that raised an error, `sys.exit` included; None if nobody has made a component yet."""
    if "eagbench.registry.blame" not in sys.modules:
        return None
    from eagbench.registry.blame import ComponentError, component_error

    return error if isinstance(error, ComponentError) else component_error(error)


def _end_on_full_disk(error: DiskFullError, goes_on: str) -> NoReturn:
    """Say that nothing more can be written, how to go on, and exit."""
    hint = "; ".join(filter(None, ("make room there", goes_on)))
    _say(f"error: {error}\n  {hint}", err=True)
    try:
        sys.stdout.flush()
    except OSError:  # it is a file on that disk: what is still to be written goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(EXIT_DISK_FULL)
