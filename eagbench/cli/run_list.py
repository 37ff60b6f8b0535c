"""What `eagbench runs` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from eagbench.errors import printable
from eagbench.session.run_list import ListedRun, runs_under


def list_runs(folder: Path) -> str:
    """List the runs below a folder: a line about each, and a line per method with its main number.

    Raises:
        UserError: There is no such folder.
    """
    found = runs_under(folder)
    if not found:
        return f"no run in {folder}"
    head = [_head(run, folder) for run in found]
    widths = [max(map(len, column)) for column in zip(*head, strict=True)]
    lines = []
    for run, cells in zip(found, head, strict=True):
        lines.append("  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip())
        lines += [f"    {line}" for line in _below(run)]
    return "\n".join(lines)


def _head(run: ListedRun, root: Path) -> tuple[str, ...]:
    place = root.name if run.folder == root else str(run.folder.relative_to(root))
    shown = place or str(root.absolute())
    name = "" if run.name == run.folder.name else run.name
    version = f"eagbench {run.version}" if run.version else ""
    return tuple(map(printable, (shown, run.state, _local_time(run.created), version, run.data, name)))


def _local_time(created: str) -> str:
    try:
        return datetime.fromisoformat(created).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return created


def _below(run: ListedRun) -> Iterator[str]:
    if run.reason:
        yield printable(run.reason)
    if run.stamp:
        yield printable(run.stamp)
    yield from _numbers(run)
    if run.n_failed:
        yield f"{run.n_failed} cells failed"


def _numbers(run: ListedRun) -> Sequence[str]:
    pairs = {(number.domain_train, number.domain_eval) for number in run.numbers}
    labels = [
        printable(
            number.method if len(pairs) == 1 else f"{number.method}, {number.domain_train} → {number.domain_eval}"
        )
        for number in run.numbers
    ]
    width = max(map(len, labels), default=0)
    return [
        f"{label:<{width}}  {printable(number.metric)} {printable(number.text)}"
        for label, number in zip(labels, run.numbers, strict=True)
    ]
