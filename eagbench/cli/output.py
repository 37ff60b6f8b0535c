"""What commands print."""

from __future__ import annotations

import typer

from eagbench.config.secrets import masked_text


def say(text: str, *, err: bool = False) -> None:
    """Print a text with secrets masked."""
    typer.echo(masked_text(text), err=err)
