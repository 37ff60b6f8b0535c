"""Compare the tables of a run folder with their rows recomputed: every column, every row, in their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.analysis.run_tables import ALL_CASES, Row
from eagbench.runs.verify.findings import TOLERANCE, Findings
from eagbench.runs.verify.table_files import read_csv
from eagbench.stats.zero import ZERO

_KEYS = (
    "domain_train", "domain_eval", "method", "baseline", "seed", "family", "summary", "condition", "severity",
    "calibration", "subgroup", "metric", "in_domain",
)  # fmt: skip


def check_results(path: Path, columns: Sequence[str], expected: Sequence[Row], findings: Findings) -> None:
    """Compare results.csv with its recomputed rows, and count the numbers compared.

    Raises:
        DamagedError: It is no such table.
    """
    before = len(findings.problems)
    check_rows(path, columns, expected, "", findings)
    if len(findings.problems) > before:
        return
    n_numbers = sum(row["status"] in {"ok", "undefined"} for row in expected)
    findings.count("point values recomputed", n_numbers)
    findings.count("interval ends recomputed", 2 * n_numbers)
    findings.count("cells without a number", len(expected) - n_numbers)


def check_rows(
    path: Path,
    columns: Sequence[str],
    expected: Sequence[Row],
    what: str,
    findings: Findings,
    without: Sequence[str] = (),
) -> None:
    """Compare a table with its recomputed rows.

    Args:
        path: The file.
        columns: Its columns.
        expected: Its rows.
        what: What to count its rows as; not counted if empty.
        findings: What was found.
        without: Columns that can't be recomputed.

    Raises:
        DamagedError: It is no such table.
    """
    stored = read_csv(path, columns)
    if problems := _other_rows(path.name, stored, expected):
        findings.problems += problems
        return
    for row, again in zip(stored, expected, strict=True):
        for column in columns:
            if column not in without and not _is_same(row[column], again[column], _percent_of(column, again)):
                place = _place(path.name, again)
                findings.problems.append(f"{place}: {column} is {row[column]!r}, recomputed {again[column]!r}")
        if what:
            findings.count(what)


def _other_rows(name: str, stored: Sequence[Mapping[str, str]], expected: Sequence[Row]) -> list[str]:
    """Say which rows are missing, doubled or of nothing that was asked; nothing if the rows are those expected."""
    found = [tuple(row[key] for key in _KEYS if key in row) for row in stored]
    wanted = [tuple(_text(row[key]) for key in _KEYS if key in stored[0]) for row in expected] if stored else []
    more, fewer = Counter(found) - Counter(wanted), Counter(wanted) - Counter(found)
    if len(found) != len(expected):
        rows = [f"{name} has {len(found)} rows, recomputed {len(expected)}"]
        rows += [f"{name}: a row too many or doubled: {', '.join(filter(None, key))}" for key in list(more)[:3]]
        return rows + [f"{name}: a row is missing: {', '.join(filter(None, key))}" for key in list(fewer)[:3]]
    # Rows that differ in a key column are compared column by column: the column that was changed is then named.
    return [f"{name}: the rows are in another order"] if found != wanted and not more and not fewer else []


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _percent_of(column: str, row: Row) -> float | None:
    """Return the value that a column's number is a percentage of; None if it is no percentage."""
    whole = row.get("percent_of")
    is_percentage = column == "relative_percent" or "relative_percent" not in row
    return float(whole) if whole is not None and is_percentage else None


def _is_same(text: str, value: Any, percent_of: float | None = None) -> bool:
    """Compare a stored entry with its recomputed value.

    A percentage may also differ by what `ZERO` makes of it in the value that it is a percentage of: near 0, the last
    digit of that value decides many of the percentage's.
    """
    if not isinstance(value, float):
        return text == ("" if value is None else str(value))
    try:
        stored = float(text or "nan")
    except ValueError:
        return False
    allowed = TOLERANCE
    if percent_of and not np.isnan(value):
        allowed += (100 + abs(value)) * ZERO / abs(percent_of)
    return bool(np.isclose(stored, value, rtol=0, atol=allowed, equal_nan=True))


def _place(file: str, row: Mapping[str, Any]) -> str:
    """Name a row in words, as far as words identify it."""
    against = f" against {row['baseline']}" if row.get("baseline") else ""
    seed = f", seed {row['seed']}" if row.get("seed") is not None else ""
    said = [str(row[c]) for c in ("condition", "severity", "metric", "calibration") if row.get(c) not in (None, "none")]
    pair = f"{row['domain_train']} to {row['domain_eval']}"
    method = f"{row.get('method', '')}{against}{seed}"
    subgroup = "" if row.get("subgroup", ALL_CASES) == ALL_CASES else str(row["subgroup"])
    return ", ".join(filter(None, (file, method, pair, subgroup, " ".join(said))))
