"""The tables of a run with small cells suppressed and numbers rounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eagbench.analysis.run_tables import ALL_CASES
from eagbench.report.export.small_cells import Counts, hidden, is_small
from eagbench.runs.schema import DOMAINS, GAPS, SUPPRESSED

Rows = list[dict[str, str]]
# Of an evaluated domain: its name and the split.
Place = tuple[str, str]

_DIGITS = 4
_AS_THEY_ARE = frozenset({"severity", "n_cases", "n_positive", "n_unparsed", "seconds", "peak_memory_mb"})
_COUNTS = ("n_cases", "n_positive", "n_unparsed")
_NUMBERS = (
    "value", "ci_low", "ci_high", "difference", "relative_percent", "standard_error", "smallest_detectable", "p_value",
    "p_corrected", "delong_standard_error", "delong_p_value", "in_domain_value", "gap",
)  # fmt: skip
_OF_TEXTS = ("prompt_tokens", "completion_tokens", "requests", "answers_from_cache", "truncated_thought", "too_long")
_OF_DOMAINS = ("n_train", "prevalence_train", "n_eval", "prevalence_eval")
_RATES_OF_UNREAD = ("unparsed_rate", "too_long")


@dataclass(slots=True)
class Suppression:
    """What was suppressed, and what is suppressed elsewhere because of it.

    Attributes:
        minimum: The smallest count that may be shown, beside 0.
        domains: Evaluated domains without any number.
        subgroups: Subgroups without any number, by evaluated domain and split.
        rows: Numbers of rows without their numbers, by table.
    """

    minimum: int
    domains: set[str] = field(default_factory=set)
    subgroups: dict[Place, set[str]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)


def exported_tables(folder: Path, minimum: int) -> tuple[dict[str, str], Suppression]:
    """Read the tables of a run folder, and return their text by file name, and what was suppressed."""
    results = _read(folder / "results.csv")
    found = _suppression(results[1], minimum)
    texts = {"results.csv": _text(results[0], [_result(row, found) for row in results[1]])}
    for name in ("comparisons.csv", "robustness.csv", GAPS):
        if (folder / name).is_file():
            columns, rows = _read(folder / name)
            texts[name] = _text(columns, [_of_pair(row, found, name) for row in rows])
    if (folder / DOMAINS).is_file():
        columns, rows = _read(folder / DOMAINS)
        texts[DOMAINS] = _text(columns, _domains(rows, found))
    columns, rows = _read(folder / "costs.csv")
    texts["costs.csv"] = _text(columns, [_without_few_texts(row, minimum) for row in rows])
    return texts, found


def _suppression(rows: Rows, minimum: int) -> Suppression:
    """Choose the domains and subgroups to suppress: counts are the same for every method and condition."""
    found = Suppression(minimum)
    cells: dict[Place, dict[str, Counts]] = {}
    for row in rows:
        if row["n_cases"] and row["n_positive"]:
            counts = Counts(round(float(row["n_cases"])), round(float(row["n_positive"])))
            cells.setdefault((row["domain_eval"], row["split"]), {}).setdefault(row["subgroup"], counts)
    for place, counted in cells.items():
        whole = counted.get(ALL_CASES)
        if whole is not None and whole.shows_few(minimum):
            found.domains.add(place[0])
        for fact in {name.partition("=")[0] for name in counted if name != ALL_CASES}:
            of_fact = {name: counts for name, counts in counted.items() if name.startswith(f"{fact}=")}
            found.subgroups.setdefault(place, set()).update(hidden(of_fact, whole, minimum))
    return found


def _result(row: dict[str, str], found: Suppression) -> dict[str, str]:
    place = row["domain_eval"], row["split"]
    if row["domain_eval"] in found.domains or row["subgroup"] in found.subgroups.get(place, ()):
        return _suppressed(row, found, "results.csv")
    unread = round(float(row["n_unparsed"] or 0))
    if is_small(unread, found.minimum):
        tells = ":" in row["metric"] or row["metric"] in _RATES_OF_UNREAD
        row = _suppressed(row, found, "results.csv", counts=()) if tells else row
        return {**_rounded(row), "n_unparsed": ""}
    return _rounded(row)


def _of_pair(row: dict[str, str], found: Suppression, name: str) -> dict[str, str]:
    few = False
    if row.get("n_cases") and row.get("n_positive"):
        few = Counts(round(float(row["n_cases"])), round(float(row["n_positive"]))).shows_few(found.minimum)
    if few or found.domains & {row["domain_eval"], row.get("in_domain", "")}:
        return _suppressed(row, found, name)
    return _rounded(row)


def _domains(rows: Rows, found: Suppression) -> Rows:
    """Suppress the sizes of all domains if one is small: they differ by the size of each other."""
    few = bool(found.domains) or any(
        is_small(n, found.minimum)
        for row in rows
        for side in ("train", "eval")
        if row[f"n_{side}"] and row[f"prevalence_{side}"]
        for n in _of_prevalence(row[f"n_{side}"], row[f"prevalence_{side}"])
    )
    if few:
        found.rows[DOMAINS] = len(rows)
        return [_rounded({**row, **dict.fromkeys(_OF_DOMAINS, "")}) for row in rows]
    return [_rounded(row) for row in rows]


def _of_prevalence(cases: str, prevalence: str) -> tuple[int, int, int]:
    n = round(float(cases))
    positive = round(n * float(prevalence))
    return n, positive, n - positive


def _without_few_texts(row: dict[str, str], minimum: int) -> dict[str, str]:
    few = {name: "" for name in _OF_TEXTS if row.get(name) and is_small(round(float(row[name])), minimum)}
    return {**row, **few}


def _suppressed(
    row: Mapping[str, str], found: Suppression, table: str, counts: Sequence[str] = _COUNTS
) -> dict[str, str]:
    found.rows[table] = found.rows.get(table, 0) + 1
    emptied = {name: "" for name in (*_NUMBERS, *counts) if name in row}
    return {**row, **emptied, **({"status": SUPPRESSED} if "status" in row else {})}


def _rounded(row: Mapping[str, str]) -> dict[str, str]:
    """Round numbers: the last digits of an AUROC tell the numbers of cases, and are not needed by readers."""
    return {name: value if name in _AS_THEY_ARE else _short(value) for name, value in row.items()}


def _short(value: str) -> str:
    if "." not in value and "e" not in value:
        return value
    try:
        return repr(float(f"{float(value):.{_DIGITS}g}"))
    except ValueError:
        return value


def _read(path: Path) -> tuple[list[str], Rows]:
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    return list(reader.fieldnames or ()), rows


def _text(columns: Sequence[str], rows: Rows) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
