"""`eagbench policy`: arguments in; the command itself is elsewhere, imported when needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eagbench.cli.output import say
from eagbench.cli.stopping import stop_signals

policy_app = typer.Typer(help="Policies: the language models that read the records.", no_args_is_help=True)


@policy_app.command("fetch")
def policy_fetch(
    name: Annotated[str, typer.Argument(help="The policy, e.g. smollm2.", show_default=False)],
    source: Annotated[
        Path | None, typer.Option("--from", help="A file that is already here, instead of a download.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="The folder for fetched policies (default: $EAGBENCH_POLICIES, else your data folder)."),
    ] = None,
) -> None:
    """Bring a policy's model onto this machine, or go on with an interrupted fetch."""
    from eagbench.cli.policies import fetch

    stop_signals.goes_on = "the same command goes on; a finished download is kept"
    say(fetch(name, source, to))
