"""Make the bundle: tables, manifest, log and a page made from these alone, checked for every id of the run."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eagbench.errors import UserError
from eagbench.execution.stage_files import file_hash
from eagbench.execution.whole_files import beside
from eagbench.report.export.manifest import exported_manifest
from eagbench.report.export.small_cells import MINIMUM
from eagbench.report.export.tables import Suppression, exported_tables
from eagbench.report.html import write_report
from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import read_manifest
from eagbench.stages.parquet_files import read_parquet

_LOGGED = ("time", "stage", "kind", "label", "seed", "status", "seconds")
_LEFT_OUT = (
    "predictions/, tuning_predictions.parquet, subgroups.parquet, patients.parquet: what was said of each case",
    "trajectories/: texts that methods wrote about cases; example texts in the report",
    "training.parquet, training_summaries.jsonl, trackers/: training curves, whose steps may be of single cases",
    "private/: the words of errors; reasons and tracebacks in log and manifest",
    "figures and tables of the report that are made from single answers: ROC, precision-recall and decision curves "
    "(a step may be one case), thresholds, calibration diagrams, citations",
    "hashes of sets of patients: those of small sets can be found by trying",
    "notes of loaders, the times of laboratory results, and the attestation: free text, or extremes of a few",
    "paths, addresses, and the names of the user and the machine",
)
_SHORTEST_ID = 4


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was written.

    Attributes:
        path: The zip file or folder.
        files: Names of its files.
        summary: What was left out and suppressed.
    """

    path: Path
    files: tuple[str, ...]
    summary: str


def export(folder: Path, out: Path, minimum: int = MINIMUM) -> Bundle:
    """Write a bundle of aggregates that may be passed on.

    Args:
        folder: A run folder.
        out: A `.zip` file, or a folder; neither may exist.
        minimum: The smallest count that is shown, beside 0.

    Raises:
        UserError: The run is not finished, the output exists, or too few cases have or lack the outcome to show
            anything.
    """
    manifest = read_manifest(folder)
    if out.exists():
        raise UserError("the output exists", where=str(out), hint="choose another --out")
    for name, data in manifest["data"].items():
        if min(data["n_positive"], data["n_cases"] - data["n_positive"]) < minimum:
            raise UserError(
                f"fewer than {minimum} cases of {name} have, or lack, the outcome: all numbers are about a few",
                where=str(folder),
            )
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "bundle"
        made.mkdir()
        summary = _fill(made, folder, manifest, minimum)
        _refuse_ids(made, folder)
        files = tuple(sorted(path.relative_to(made).as_posix() for path in _in_order(made)))
        _write(made, out)
    return Bundle(out, files, summary)


def _fill(made: Path, folder: Path, manifest: Mapping[str, Any], minimum: int) -> str:
    """Write the bundle's files, and return what the README says."""
    tables, found = exported_tables(folder, minimum)
    exported = exported_manifest(manifest, found)
    summary = _summary(found)
    for name, text in tables.items():
        (made / name).write_text(text, encoding="utf-8")
    log = (json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    lines = [json.dumps({key: entry.get(key) for key in _LOGGED}) + "\n" for entry in log]
    (made / "log.jsonl").write_text("".join(lines), encoding="utf-8")
    exported["export"] = {"smallest_count": minimum, "suppressed": found.rows, "left_out": list(_LEFT_OUT)}
    exported["files"] = {path.name: file_hash(path) for path in sorted(made.glob("*.csv"))}
    (made / "manifest.json").write_text(json.dumps(exported, indent=1), encoding="utf-8")
    write_report(RunFolder(made))  # which reads nothing but the bundle
    (made / "README.md").write_text(f"# {manifest['name']}: aggregates\n\n{summary}\n", encoding="utf-8")
    return summary


def _summary(found: Suppression) -> str:
    k = found.minimum
    rows = [f"{table}: {n} rows" for table, n in found.rows.items()] or ["nothing"]
    lines = [
        "Made by `eagbench export`, to be passed on. It holds aggregates only.",
        "",
        f"Suppressed: cells of 1 to {k - 1} cases, events or non-events, all numbers about them, and further cells "
        "where the others and the total would give them away. Numbers have 4 significant digits.",
        *(f"- {line}" for line in rows),
    ]
    if found.domains:
        lines.append(f"- evaluated domains without numbers: {', '.join(sorted(found.domains))}")
    lines += ["", "Left out:", *(f"- {line}" for line in _LEFT_OUT)]
    return "\n".join(lines)


def _refuse_ids(made: Path, folder: Path) -> None:
    """Look for the ids of cases and patients in what was made.

    Raises:
        UserError: An id is there, for example as the name of a domain.
    """
    patients = folder / "patients.parquet"
    if not patients.is_file():
        raise UserError("patients.parquet is missing, so nothing can be checked", where=str(folder))
    table = read_parquet(patients, ["case_id", "patient_id"]).to_pydict()
    ids = {str(value) for column in table.values() for value in column}
    ids = {value for value in ids if len(value) >= _SHORTEST_ID}
    for path in _in_order(made):
        n = sum(len(ids & _words(text)) for text in _texts(path))
        if n:
            raise UserError(
                f"{path.relative_to(made)} would hold {n} ids of cases or patients; nothing was written",
                where=str(folder),
                hint="labels, names of domains and descriptions are passed on: keep ids out of them",
            )


def _words(text: str) -> set[str]:
    # An id may be several words long, so whole texts count too.
    return {text, *re.findall(r"[^\s,;:|/()<>\[\]{}\"'=]+", text), *re.findall(r"\w+", text)}


def _texts(path: Path) -> Iterator[str]:
    """Yield what a file says in words. Numbers are no ids: a count may be the same as somebody's number."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        yield from (cell for row in csv.reader(text.splitlines()) for cell in row if not _is_number(cell))
    elif path.suffix in {".json", ".jsonl"}:
        for line in [text] if path.suffix == ".json" else text.splitlines():
            yield from _strings(json.loads(line))
    else:
        yield from (word for word in _words(re.sub(r"<[^>]*>", " ", text)) if not _is_number(word))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield str(key)
            yield from _strings(below)
    elif isinstance(value, list):
        for below in value:
            yield from _strings(below)
    elif isinstance(value, str):
        yield value


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?[\d.,]*(?:e[-+]?\d+)?%?", text) is not None


def _write(made: Path, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix != ".zip":
        place = out.with_name(f".{out.name}.{os.getpid()}")
        shutil.copytree(made, place, copy_function=shutil.copyfile)
        place.rename(out)
        return
    with beside(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _in_order(made):
            # The same run gives the same bytes: no time of writing, no rights of the user.
            name = f"{out.stem}/{path.relative_to(made).as_posix()}"
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)


def _in_order(folder: Path) -> Sequence[Path]:
    """List the files of a bundle, those of its folders included."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(found, key=lambda path: (path.name != "README.md", path.relative_to(folder).as_posix()))
