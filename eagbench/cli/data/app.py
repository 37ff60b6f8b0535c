"""`eagbench data`: arguments in; the commands themselves are elsewhere, imported when needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eagbench.cli.completion import complete_data_set, complete_described
from eagbench.cli.output import say
from eagbench.cli.stopping import stop_signals

data_app = typer.Typer(
    help="Data sets: what there is, how to get it, what is in it, whether yours can be read.", no_args_is_help=True
)


@data_app.command("list")
def data_list() -> None:
    """List the data sets."""
    from eagbench.cli import catalogue

    say(catalogue.list_datasets())


@data_app.command("concepts")
def data_concepts(
    search: Annotated[
        str | None, typer.Argument(help="Text in a name, synonym or LOINC code, e.g. glucose.", show_default=False)
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only what this data set holds, e.g. mimic4.")] = None,
) -> None:
    """List the clinical concepts: unit, reference range, plausible range, other known units, names."""
    from eagbench.cli import catalogue

    say(catalogue.list_concepts(search, source))


@data_app.command("describe")
def data_describe(
    name: Annotated[str, typer.Argument(help="A data set's name, or a benchmark's YAML file.", show_default=False)],
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            autocompletion=complete_described,
            help="A parameter of the data set, e.g. root=/data, or a value of the benchmark.",
        ),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Lay one of the benchmark's profiles on it.")] = None,
    format: Annotated[str, typer.Option(help="text, md or json.")] = "text",
) -> None:
    """Say what a data set needs; with its parameters, or for a benchmark: who is in it, and what looks like a leak."""
    from eagbench.cli.data.describe import describe

    stop_signals.goes_on = "the same command takes up the work where it stopped"
    say(describe(name, tuple(sets or ()), profile, format))


@data_app.command("check")
def data_check(
    name: Annotated[str, typer.Argument(help="A data set's name.", show_default=False)],
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", autocompletion=complete_data_set, help="A parameter, e.g. root=/data."
        ),
    ] = None,
) -> None:
    """Load a data set and print what was read, what was left out, and each feature's coverage and range."""
    from eagbench.cli.data.check import check_dataset

    say(check_dataset(name, tuple(sets or ())))


@data_app.command("fetch")
def data_fetch(
    name: Annotated[
        str | None, typer.Argument(help="The source, e.g. tjh (default: list them).", show_default=False)
    ] = None,
    to: Annotated[Path | None, typer.Option(help="The folder for its files (default: data/NAME).")] = None,
    place: Annotated[
        str | None,
        typer.Option("--from", metavar="URL|FOLDER", help="Where a copy of the files is (default: the origin)."),
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence, which is shown, without being asked.")
    ] = False,
) -> None:
    """Bring an open data set here from its origin, checked against its hashes, or go on with an interrupted fetch."""
    from eagbench.cli.data.fetch import fetch, list_sources

    if name is None:
        say(list_sources())
        return
    stop_signals.goes_on = "the same command goes on where the transfer stopped"
    say(fetch(name, to, place, accepts=accept_licence))
