"""The runs below a folder: what each is about, its state, and its key numbers."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eagbench.analysis.cells import CLEAN
from eagbench.errors import UserError
from eagbench.execution.stage_files import MANIFEST
from eagbench.execution.whole_files import read_marker
from eagbench.report.tables import entry, stamp
from eagbench.report.wording import words
from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import FORMAT, MARKER, OWN_HASH, own_hash, read_manifest

if TYPE_CHECKING:
    import pandas as pd

State = Literal["finished", "unfinished", "damaged", "newer"]
_DEEPEST = 4  # folders of runs within folders of runs; a home folder given by mistake is not searched for minutes


@dataclass(frozen=True, slots=True)
class KeyNumber:
    """A method's main number on unchanged records, the mean over seeds.

    Attributes:
        method: The method's label.
        domain_train: Where it was trained.
        domain_eval: Where it was evaluated.
        metric: The metric of the benchmark's comparisons, or its first.
        value: The number; NaN where there is none.
        ci_low: The lower end of its interval.
        ci_high: The upper end.
        n_cases: Cases behind it.
        n_positive: Those with the outcome.
        text: The number as the report writes it, or why there is none.
    """

    method: str
    domain_train: str
    domain_eval: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_cases: int
    n_positive: int
    text: str


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run folder in a list.

    Attributes:
        folder: The folder.
        name: The benchmark's name; empty if nothing can be read.
        state: `finished`; `unfinished`: interrupted, or under way; `damaged`: not what eagbench wrote; `newer`: written
            by a newer eagbench.
        reason: What is damaged.
        created: When it was finished, in UTC (ISO 8601).
        version: The version of eagbench that wrote it.
        data: Its data sets.
        stamp: What must stand beside its numbers.
        n_failed: Cells without a number because something failed.
        numbers: The main number of each method.
    """

    folder: Path
    name: str
    state: State
    reason: str = ""
    created: str = ""
    version: str = ""
    data: str = ""
    stamp: str = ""
    n_failed: int = 0
    numbers: tuple[KeyNumber, ...] = ()


def runs_under(folder: Path) -> list[ListedRun]:
    """List the run folders in a folder and its subfolders, the newest first, unfinished ones before all.

    Raises:
        UserError: There is no such folder.
    """
    if not folder.is_dir():
        raise UserError("there is no such folder", where=str(folder), hint="give the folder that holds runs")
    found = sorted((_listed(path) for path in _run_folders(folder, _DEEPEST)), key=lambda run: str(run.folder))
    return sorted(found, key=lambda run: run.created or "~", reverse=True)


def runs_table(runs: Sequence[ListedRun]) -> pd.DataFrame:
    """Return a row per run and method, and one for a run without numbers."""
    import pandas as pd

    missing: dict[str, Any] = dict.fromkeys(KeyNumber.__dataclass_fields__)
    rows = []
    for run in runs:
        of_run = {key: value for key, value in asdict(run).items() if key != "numbers"}
        of_run["folder"] = str(run.folder)
        for number in [asdict(number) for number in run.numbers] or [missing]:
            rows.append({**of_run, **{key: value for key, value in number.items() if key != "text"}})
    columns = [key for key in ListedRun.__dataclass_fields__ if key != "numbers"]
    return pd.DataFrame(rows, columns=[*columns, *(key for key in missing if key != "text")])


def _run_folders(folder: Path, deeper: int) -> Iterator[Path]:
    """Yield the run folders here and below; what lies inside of one belongs to it."""
    if (folder / MARKER).is_file() or _is_manifest_of_a_run(folder / MANIFEST):
        yield folder
        return
    if deeper:
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
                try:
                    yield from _run_folders(path, deeper - 1)
                except PermissionError:
                    continue  # somebody else's


def _is_manifest_of_a_run(path: Path) -> bool:
    """Tell a run's manifest, also a damaged one, from that of a stage or of another program."""
    return path.is_file() and any((path.parent / name).exists() for name in ("results.csv", "costs.csv", "predictions"))


def _listed(folder: Path) -> ListedRun:
    if not (folder / MANIFEST).is_file():
        try:
            return ListedRun(folder, read_marker(folder / MARKER, "benchmark", "run"), "unfinished")
        except UserError as error:
            return ListedRun(folder, "", "damaged", error.what)
    try:
        manifest = read_manifest(folder)
        if OWN_HASH in manifest and own_hash(manifest) != manifest[OWN_HASH]:
            return ListedRun(folder, str(manifest["name"]), "damaged", "manifest.json was changed after the run")
        run = RunFolder(folder)
        return ListedRun(
            folder,
            str(manifest["name"]),
            "finished",
            created=str(manifest.get("created", "")),
            version=str(manifest.get("eagbench_version", "")),
            data=", ".join(manifest["data"]),
            stamp=stamp(run),
            n_failed=len(manifest.get("failed", ())),
            numbers=tuple(_numbers(run)),
        )
    except UserError as error:
        return ListedRun(folder, "", "newer" if _is_newer(folder) else "damaged", error.what)
    except (ValueError, TypeError, KeyError, AttributeError, csv.Error) as error:
        # Whatever somebody made of the files: one such folder must not hide the others.
        return ListedRun(folder, "", "damaged", f"{type(error).__name__}: {error}")


def _is_newer(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    found = manifest.get("format", 1) if isinstance(manifest, dict) else None
    return isinstance(found, int) and found > FORMAT


def _numbers(run: RunFolder) -> Iterator[KeyNumber]:
    claim = run.manifest.get("comparisons")
    metric = claim["metric"] if claim else run.metrics[0]
    for group in run.groups:
        cells = run.headline(group)
        for method in run.methods:
            row = cells.get((method, CLEAN, None, metric))
            said = entry(run, row)
            text = f"{said.text} ({said.note})" if said.note else words(said.text)
            value, low, high = (math.nan,) * 3 if row is None else (row.value, row.ci_low, row.ci_high)
            cases, positive = (0, 0) if row is None else (row.n_cases, row.n_positive)
            places = group.domain_train, group.domain_eval
            yield KeyNumber(method, *places, metric, value, low, high, cases, positive, text)
