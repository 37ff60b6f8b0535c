"""`eagbench show`: arguments in, text out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunFolder = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]


def show(
    run: RunFolder,
    case: Annotated[str | None, typer.Argument(help="The id of a case; none lists cases.", show_default=False)] = None,
    method: Annotated[str | None, typer.Option(help="Whose answers (default: the method the run is about).")] = None,
    condition: Annotated[
        str | None, typer.Option(help="Under a perturbation, e.g. 'missing_values 0.3': moved furthest first.")
    ] = None,
    subgroup: Annotated[str | None, typer.Option(help="Cases of a subgroup, e.g. sex=female.")] = None,
    only: Annotated[str, typer.Option(help="all, wrong or unread.")] = "all",
    domains: Annotated[str | None, typer.Option(metavar="TRAINED:EVALUATED", help="In a run across domains.")] = None,
    training: Annotated[bool, typer.Option("--training", help="Training cases that were searched instead.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many to list.")] = 20,
) -> None:
    """List a run's cases, the worst predicted first, or show one: record, prompt, answer, what it cites."""
    from eagbench.cli import cases
    from eagbench.report.cases.selection import Asked

    if training:
        typer.echo(cases.show_training(run, case, limit))
        return
    typer.echo(cases.show(run, case, Asked(method, condition, subgroup, only, domains), limit))
