"""The edits as data: which file, what is changed, how. Most are generated from the columns and keys that a run has."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.execution.stage_files import file_hash
from eagbench.runs.schema import OWN_HASH, own_hash

Rows = list[dict[str, Any]]
# What a run says of itself and nothing else in the folder or the store tells: when, where, by which code it was made.
UNPROVABLE = (
    "created", "versions", "git", "hardware", "eagbench_version", "profile",
    "benchmark.description", "benchmark.attestation",
)  # fmt: skip
_UNPROVABLE_COLUMNS = {"log.jsonl": ("time", "traceback")}


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit of a run folder.

    Attributes:
        file: What is edited, by its path in the folder.
        what: What is done to it, in words.
        do: Does it to a folder.
        adapts: The editor also makes all hashes fit, and the report.
        was_overlooked: An earlier `verify` passed it, or crashed.
        may_be_refused: It may leave no run folder of this version, so that `verify` may exit 2.
    """

    file: str
    what: str
    do: Callable[[Path], None]
    adapts: bool = True
    was_overlooked: bool = False
    may_be_refused: bool = False


def adapt_hashes(run: Path) -> None:
    """Make the hashes in a manifest fit the folder, as far as it still is one."""
    path = run / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        listed = {name: run / name for name in manifest["files"]}
        found = {
            file.relative_to(run).as_posix(): file
            for file in run.rglob("*")
            if file.suffix in {".csv", ".parquet", ".jsonl"} and file.parent.name != "figures"
        }
        kept = {name: file_hash(file) for name, file in {**listed, **found}.items() if file.is_file()}
        manifest["files"] = kept
        manifest[OWN_HASH] = own_hash(manifest)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError):
        return
    path.write_text(json.dumps(manifest, indent=1))


def edits_of(run: Path) -> Iterator[Edit]:
    """Yield every edit that a run folder allows."""
    yield from _overlooked(run)
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.suffix == ".csv":
            edits = _of_table(name, _csv_rows(path.read_text()), edit_csv)
            # An editor who has the report made anew gets the figures back.
            yield from (replace(e, adapts=False) for e in edits) if path.parent.name == "figures" else edits
        elif path.suffix == ".parquet":
            yield from _of_table(name, pq.read_table(path).to_pylist(), edit_parquet)
        elif path.suffix == ".jsonl":
            yield from _of_table(name, [json.loads(line) for line in path.read_text().split("\n")[:-1]], edit_lines)
    yield from _of_manifest(run)
    yield from _broken(run)


# Those that passed or crashed before


def _overlooked(run: Path) -> Iterator[Edit]:
    """Yield the edits of which an earlier `verify` said nothing, by name."""

    def edit(file: str, what: str, do: Callable[[Path], None], adapts: bool = True) -> Edit:
        return Edit(file, what, do, adapts, was_overlooked=True)

    def manifest(what: str, change: Callable[[dict[str, Any]], None], adapts: bool = True) -> Edit:
        return edit("manifest.json", what, lambda folder: edit_manifest(folder, change), adapts)

    rows = partial(edit_csv, "results.csv")
    for column in ("n_cases", "n_positive", "n_unparsed"):
        yield edit("results.csv", f"{column} of all rows is one more", partial(rows, partial(_more_everywhere, column)))
    yield edit("results.csv", "a row is removed", partial(rows, lambda found: found[1:]))
    yield edit("results.csv", "a row is doubled", partial(rows, lambda found: [found[0], *found]))
    yield edit("results.csv", "a status is 'OK' beside another value", partial(rows, _status_in_capitals))
    yield edit("results.csv", "a bad result is marked failed", partial(rows, _marked_failed))
    yield edit("report.html", "a digit is another", _other_report, adapts=False)
    yield manifest("the limit's stamp is gone", lambda m: m.update(limit=None), adapts=False)
    yield manifest("the limit's stamp is gone", lambda m: m.update(limit=None))
    yield manifest("there are no stages", lambda m: m.update(stages=[]), adapts=False)
    yield manifest("there are no stages and no cells", lambda m: m.update(stages=[], cells=[], failed=[]))
    yield manifest("the flag for synthetic data is turned", lambda m: m.update(synthetic=not m["synthetic"]))
    yield manifest("the flag for synthetic data is turned", lambda m: m.update(synthetic=not m["synthetic"]), False)
    yield edit("all files", "synthetic data lose their name, flag and access", _unstamped)
    if (run / "trajectories" / "prompt.jsonl").is_file():
        name, first = "trajectories/prompt.jsonl", partial(edit_lines, "trajectories/prompt.jsonl")
        yield edit(name, "a text says another number", partial(first, _other_text))
        yield edit(name, "a text is empty", partial(first, partial(_set_first, "text", "")))
        yield edit("the method prompt", "its answers are one less unread", _read_after_all)


def _more_everywhere(column: str, rows: Rows) -> Rows:
    return [{**row, column: str(int(row[column]) + 1) if row[column] else row[column]} for row in rows]


def _status_in_capitals(rows: Rows) -> Rows:
    i = next(i for i, row in enumerate(rows) if row["status"] == "ok" and row["metric"] == "auroc")
    return [*rows[:i], {**rows[i], "status": "OK", "value": "0.999"}, *rows[i + 1 :]]


def _marked_failed(rows: Rows) -> Rows:
    i = next(i for i, row in enumerate(rows) if row["status"] == "ok")
    return [*rows[:i], {**rows[i], "status": "failed", "value": "", "ci_low": "", "ci_high": ""}, *rows[i + 1 :]]


def _other_report(run: Path) -> None:
    path = run / "report.html"
    text = path.read_text()
    at = text.index("0.", text.index("<table"))
    path.write_text(text[: at + 2] + str((int(text[at + 2]) + 1) % 10) + text[at + 3 :])


def _unstamped(run: Path) -> None:
    for path in [*run.rglob("*.csv"), *run.rglob("*.jsonl"), run / "manifest.json"]:
        path.write_text(path.read_text().replace(" (SYNTHETIC)", " "))
    for path in run.rglob("*.parquet"):
        table = pq.read_table(path)
        rows = [{k: v.replace(" (SYNTHETIC)", " ") if isinstance(v, str) else v for k, v in row.items()} for row in
                table.to_pylist()]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)

    def change(manifest: dict[str, Any]) -> None:
        manifest.update(synthetic=False, access="credentialed")
        for facts in [*manifest["data"].values(), *manifest["transfer"]["domains"]]:
            facts["access"] = "credentialed"

    edit_manifest(run, change)


def _other_text(rows: Rows) -> Rows:
    i = next(i for i, row in enumerate(rows) if row["probability"] is not None)
    number = f"{row_number(rows[i]):.2f}"
    text = rows[i]["text"].replace(number, "0.11" if number != "0.11" else "0.22")
    return [*rows[:i], {**rows[i], "text": text}, *rows[i + 1 :]]


def row_number(row: dict[str, Any]) -> float:
    """Return the probability of a line of trajectories."""
    return float(row["probability"])


def _read_after_all(run: Path) -> None:
    def change(rows: Rows) -> Rows:
        i = next(i for i, row in enumerate(rows) if not row["parsed"])
        return [*rows[:i], {**rows[i], "parsed": True}, *rows[i + 1 :]]

    edit_parquet("predictions/prompt.parquet", change, run)


# Tables: every column, and the rows themselves


def _of_table(name: str, rows: Rows, edit: Callable[..., None]) -> Iterator[Edit]:
    if not rows:
        return
    for column in {key: None for row in rows for key in row}:
        # Change the value that stands there, in the first and the last row that have one.
        for word, order in (("first", 1), ("last", -1)):
            at = next((i for i in range(len(rows))[::order] if rows[i].get(column) not in (None, "")), None)
            if at is not None:
                yield Edit(
                    name,
                    f"{column} of the {word} row is another",
                    partial(edit, name, partial(_other, column, at)),
                    adapts=column not in _UNPROVABLE_COLUMNS.get(name, ()),
                )
        empty = next((i for i, row in enumerate(rows) if row.get(column) in (None, "")), None)
        if empty is not None and edit is edit_csv:
            yield Edit(name, f"{column} is filled in", partial(edit, name, partial(_set_at, column, empty, "0.5")))
        yield Edit(name, f"{column} is gone", partial(edit, name, partial(_without, column)))
    for word, change in _ROWS.items():
        yield Edit(name, word, partial(edit, name, change))


def _swapped(rows: Rows) -> Rows:
    return [rows[-1], *rows[1:-1], rows[0]] if len(rows) > 1 else []


_ROWS: dict[str, Callable[[Rows], Rows]] = {
    "the last row is removed": lambda rows: rows[:-1],
    "a row in the middle is removed": lambda rows: [*rows[: len(rows) // 2], *rows[len(rows) // 2 + 1 :]],
    "the last row is doubled": lambda rows: [*rows, rows[-1]],
    "the first and the last row are swapped": _swapped,
    "no row is left": lambda rows: [],
}


def _other(column: str, at: int, rows: Rows) -> Rows:
    return _set_at(column, at, other_value(rows[at][column]), rows)


def other_value(value: Any) -> Any:
    """Return a value of the same kind that is not the same."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 0.01 if value < 0.9 else value - 0.01
        case list():
            return value[1:] if value else ["x"]
        case tuple():
            return (value[0], other_value(value[1]))
        case dict():
            return {key: value[key] for key in list(value)[1:]} if value else {"x": 1.0}
        case None:
            return 1
    try:
        number = float(value)
    except ValueError:
        return f"{value}x"
    return str(int(number) + 1) if value.lstrip("-").isdigit() else repr(number + 0.01)


def _set_at(column: str, at: int, value: Any, rows: Rows) -> Rows:
    return [*rows[:at], {**rows[at], column: value}, *rows[at + 1 :]]


def _set_first(column: str, value: Any, rows: Rows) -> Rows:
    return _set_at(column, 0, value, rows)


def _without(column: str, rows: Rows) -> Rows:
    return [{key: value for key, value in row.items() if key != column} for row in rows]


def _csv_rows(text: str) -> Rows:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def edit_csv(name: str, change: Callable[[Rows], Rows], run: Path) -> None:
    """Change the rows of a CSV file, and keep its format."""
    path = run / name
    before = _csv_rows(path.read_text())
    rows = change(before)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list((rows or before)[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(stream.getvalue())


def edit_parquet(name: str, change: Callable[[Rows], Rows], run: Path) -> None:
    """Change the rows of a Parquet file, and keep the types of its columns."""
    table = pq.read_table(run / name)
    rows = change(table.to_pylist())
    kept = [field for field in table.schema if not rows or field.name in rows[0]]
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(kept)), run / name)


def edit_lines(name: str, change: Callable[[Rows], Rows], run: Path) -> None:
    """Change the objects of a file with one JSON object a line."""
    path = run / name
    rows = change([json.loads(line) for line in path.read_text().split("\n")[:-1]])
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


# The manifest: every key


def edit_manifest(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest."""
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest, indent=1))


def _of_manifest(run: Path) -> Iterator[Edit]:
    manifest = json.loads((run / "manifest.json").read_text())
    for place, words in _places(manifest).items():
        if words.partition(".")[0] in ("files", OWN_HASH):
            continue
        # What nothing else tells is proved by the manifest's own hash alone.
        adapts = not any(words == name or words.startswith(f"{name}.") for name in UNPROVABLE)
        adapts = adapts and (place[0], place[-1]) != ("stages", "finished")
        for what, change in (("another", _change_place), ("gone", _remove_place)):
            if what == "gone" and place[0] == "benchmark":
                continue  # a key with a default means the same without it
            yield Edit(
                "manifest.json",
                f"{words} is {what}",
                lambda folder, p=place, c=change: edit_manifest(folder, lambda m: c(m, p)),  # type: ignore[misc]
                adapts,
                may_be_refused=len(place) == 1,
            )


def _places(value: Any, here: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], str]:
    """List the places of a JSON value, of each list the first and the last entry only."""
    found: dict[tuple[Any, ...], str] = {}
    if here and not (isinstance(value, dict) and value):
        found[here] = ".".join(map(str, here))
    entries: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list) and value:
        entries = [(0, value[0])] if len(value) == 1 else [(0, value[0]), (len(value) - 1, value[-1])]
    for key, entry in entries:
        found |= _places(entry, (*here, key))
    return found


def _change_place(manifest: Any, place: tuple[Any, ...]) -> None:
    for key in place[:-1]:
        manifest = manifest[key]
    manifest[place[-1]] = other_value(manifest[place[-1]])


def _remove_place(manifest: Any, place: tuple[Any, ...]) -> None:
    for key in place[:-1]:
        manifest = manifest[key]
    del manifest[place[-1]]


# Files that are no longer what they were


def _broken(run: Path) -> Iterator[Edit]:
    names = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    for name in names:
        for what, do in _BREAKS.items():
            is_report = name == "report.html" or name.startswith("figures/")
            if is_report and what == "it is gone":
                continue  # `eagbench report` makes it again; without one there is nothing to notice
            yield Edit(name, what, partial(do, name), not is_report, may_be_refused=name == "manifest.json")
    for name in ("predictions/other.parquet", "trajectories/other.jsonl"):
        yield Edit(name, "it is there, of a method that the run does not have", partial(_added, name))


def _added(name: str, run: Path) -> None:
    source = next(path for path in sorted((run / "predictions").iterdir()))
    (run / name).write_bytes(source.read_bytes() if name.endswith(".parquet") else b"{}\n")


def _halved(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: len(content) // 2]


def _with(content: Callable[[Path], bytes], name: str, run: Path) -> None:
    (run / name).write_bytes(content(run / name))


_BREAKS: dict[str, Callable[[str, Path], None]] = {
    "it is gone": lambda name, run: (run / name).unlink(),
    "it is empty": partial(_with, lambda path: b""),
    "it breaks off in the middle": partial(_with, _halved),
    "it is not text": partial(_with, lambda path: b"\xff\xfe\x00PAR1" + path.read_bytes()[7:]),
    "it is [] or an empty object": partial(_with, lambda path: b"[]\n"),
}
