"""`eagbench plugins`: arguments in, exit codes out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eagbench.cli.output import say

EXIT_CHECK_FAILED = 2

plugins_app = typer.Typer(help="Components and the packages they come from.", no_args_is_help=True)


@plugins_app.command("list")
def plugins_list(
    kind: Annotated[str | None, typer.Option(help="Only this kind, e.g. expert.")] = None,
) -> None:
    """List every component by kind, with the package it comes from, and the plugins that could not be loaded."""
    from eagbench.cli.plugin_list import list_plugins

    say(list_plugins(kind))


@plugins_app.command("show")
def plugins_show(
    name: Annotated[str, typer.Argument(help="A component's name, e.g. lightgbm.", show_default=False)],
    kind: Annotated[str | None, typer.Option(help="Only this kind, where several have the name.")] = None,
) -> None:
    """Show a component: its package and file, its parameters, and a benchmark that uses it."""
    from eagbench.cli.plugins.show import show

    say(show(name, kind))


@plugins_app.command("new")
def plugins_new(
    kind: Annotated[str, typer.Argument(help="The kind of component, e.g. expert.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Its name in a benchmark, e.g. my_score.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The package's folder (default: eagbench-<name>).")] = None,
) -> None:
    """Write a package with a component of your own that works and passes its tests, for you to change."""
    from eagbench.cli.plugins.new import write_package

    say(write_package(kind, name, out))


@plugins_app.command("check")
def plugins_check(
    package: Annotated[str, typer.Argument(help="An installed package, e.g. eagbench-my-score.", show_default=False)],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.KEY=VALUE", help="A component's parameter, e.g. my_data.root=/data."),
    ] = None,
) -> None:
    """Check that what a package registers keeps the contract of its kind. Needs pytest; exit code 2 if it does not."""
    from eagbench.cli.plugins.check import check_package

    if not check_package(package, tuple(sets or ()), say):
        raise typer.Exit(EXIT_CHECK_FAILED)
