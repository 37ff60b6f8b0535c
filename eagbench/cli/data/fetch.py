"""What `eagbench data fetch` does: it finds the source, shows its licence, fetches, and says how to use the files."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import typer
import yaml

from eagbench.cli.output import say
from eagbench.config.suggestions import choices
from eagbench.contracts.data_sources import DataSource, FetchableDataset
from eagbench.errors import UserError
from eagbench.execution.fetching.fetch import BY_EAGBENCH
from eagbench.execution.fetching.fetch import fetch as fetch_files
from eagbench.execution.fetching.record import Acceptance, Record, read_record
from eagbench.execution.progress import Reporter
from eagbench.registry.plugins import load_registry

_WHERE = "data fetch"


def sources() -> dict[str, tuple[str, DataSource]]:
    """Collect what the installed data sets declare: by name, the data set and the source.

    Raises:
        UserError: Two data sets declare different sources of one name.
    """
    registry = load_registry()
    found: dict[str, tuple[str, DataSource]] = {}
    for name in registry.names("dataset"):
        component: Any = registry.get("dataset", name).component
        for source in component.sources if isinstance(component, FetchableDataset) else ():
            if source.name in found:
                raise UserError(
                    f"the data sets '{found[source.name][0]}' and '{name}' both declare a source '{source.name}'",
                    where=_WHERE,
                    hint="uninstall one of their packages, or have its author rename the source",
                )
            found[source.name] = (name, source)
    return found


def list_sources() -> str:
    """List what can be fetched, one line each."""
    found = sources()
    width = max(map(len, found), default=0)
    lines = [
        f"{name:<{width}}  {source.title}; {source.licence}; read by `{dataset}`"
        for name, (dataset, source) in sorted(found.items())
    ]
    return "\n".join([*lines, "", "eagbench data fetch NAME brings one of them here."])


def fetch(name: str, to: Path | None, place: str | None, *, accepts: bool) -> str:
    """Bring a source's files onto this machine, and say how a benchmark names them.

    Args:
        name: The source.
        to: The folder for its files; None for `data/NAME` here.
        place: The address or folder of a copy of them; None for the origin.
        accepts: The user accepted the licence on the command line.

    Raises:
        UserError: There is no such source, its licence was not accepted, or a file can't be had.
    """
    found = sources()
    if name not in found:
        raise UserError(f"there is no data source '{name}'", where=_WHERE, hint=choices(name, sorted(found)))
    dataset, source = found[name]
    folder = (to or Path("data") / name).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError("this is a file, not a folder", where=str(folder), hint="choose a folder with --to")
    reporter = Reporter()
    known = read_record(folder, source)
    before = known or Record(_accepted(source, accepts=accepts), {})
    try:
        record = fetch_files(source, folder, before, place, reporter)
    except (PermissionError, NotADirectoryError) as error:
        raise UserError(
            f"can't be written: {error.strerror}", where=str(error.filename), hint="choose a folder with --to"
        ) from error
    return "\n".join([f"folder: {folder}", *_vouching(source, record), "", *_benchmark(dataset, source, folder)])


def _accepted(source: DataSource, *, accepts: bool) -> Acceptance:
    """Show the licence, and have it accepted.

    Raises:
        UserError: It was not.
    """
    shown = [f"{source.title} ({source.page})", f"licence: {source.licence}, {source.licence_url}"]
    say("\n".join([*shown, f"please cite: {source.citation}"]), err=True)
    if accepts:
        return Acceptance.now("--accept-licence")
    if not sys.stdin.isatty():
        raise UserError(
            f"the licence has to be accepted ({source.licence})",
            where=f"{_WHERE} {source.name}",
            hint=f"read {source.licence_url} and add --accept-licence",
        )
    if not typer.confirm("Do you accept the licence?", err=True):
        raise UserError("the licence was not accepted; nothing was fetched", where=f"{_WHERE} {source.name}")
    return Acceptance.now("prompt")


def _vouching(source: DataSource, record: Record) -> list[str]:
    """Say what the checked hashes prove."""
    names = [file.path for file in source.files]
    listed = [name for name in names if record.files[name].vouched_by != BY_EAGBENCH]
    known = [name for name in names if name not in listed]
    lines = [f"by hashes that eagbench knows, these are the published files: {', '.join(known)}"] if known else []
    if listed:
        lines.append(
            f"as {source.checksums} of the same place lists them: {', '.join(listed)} (the transfer was faultless; the "
            "rest is that place's word)"
        )
    return lines


def _benchmark(dataset: str, source: DataSource, folder: Path) -> list[str]:
    data = {"name": dataset, "root": str(folder), **source.params}
    flow = yaml.safe_dump(data, default_flow_style=True, sort_keys=False, width=10_000).strip()
    sets = " ".join(f"--set {shlex.quote(f'{key}={value}')}" for key, value in data.items() if key != "name")
    return [
        "in a benchmark:",
        f"data: {flow}",
        "",
        f"what is in it: eagbench data describe {dataset} {sets}",
    ]
