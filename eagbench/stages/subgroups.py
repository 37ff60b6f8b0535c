"""Stage `subgroups`: groups cases by sex, by age band, or by a fact that a data set declares, to report them apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.stages.cohort_files import group_names, read_cases, read_group, read_static
from eagbench.stages.parquet_files import read_parquet

SUBGROUPS = "subgroups.parquet"
SEX, AGE = "sex", "age"
UNKNOWN = "unknown"


def assign(run: StageRun) -> None:
    """Write `subgroups.parquet`, with a row per case and fact: `case_id` and `subgroup` (`sex=female`, `age=65-79`).

    Raises:
        UserError: A fact is neither known nor declared by the data set.
    """
    cohort: Path = run.inputs["cohort"]
    cases = read_cases(cohort)
    declared = group_names(cohort)
    known = [name for name in (SEX, AGE) if name in cases.static_names]
    rows: dict[str, list[str]] = {"case_id": [], "subgroup": []}
    for fact in run.params["by"]:
        if fact in declared:
            values = read_group(cohort, fact)
        elif fact in known:
            numbers = read_static(cohort, fact)
            values = {case_id: _value(fact, number, run.params["age_bands"]) for case_id, number in numbers.items()}
        else:
            raise UserError(
                f"cases can't be grouped by '{fact}': the data set has no such fact",
                where="subgroups.by",
                hint=f"choices: {', '.join([*known, *declared])}",
            )
        rows["case_id"] += list(cases.case_ids)
        rows["subgroup"] += [f"{fact}={values[case_id] or UNKNOWN}" for case_id in cases.case_ids]
    pq.write_table(pa.table(rows), run.out / SUBGROUPS)


def _value(fact: str, number: float, bands: Sequence[float]) -> str:
    if math.isnan(number):
        return UNKNOWN
    if fact == SEX:
        return "male" if number == 1 else "female"
    return age_band(number, bands)


def age_band(age: float, bands: Sequence[float]) -> str:
    """Name the band of an age: `18-44` for 18 <= age < 45, `80+` from the last edge on, `under 18` below the first.

    Args:
        age: Years.
        bands: Lower edges, increasing.
    """
    passed = [edge for edge in bands if age >= edge]
    if not passed:
        return f"under {bands[0]:g}"
    if len(passed) == len(bands):
        return f"{bands[-1]:g}+"
    return f"{passed[-1]:g}-{bands[len(passed)] - 1:g}"


def band_order(subgroup: str) -> tuple[str, int, float, str]:
    """Return the sort key of a subgroup: by fact, age bands by age, `unknown` last."""
    fact, _, value = subgroup.partition("=")
    digits = "".join(character for character in value.partition("-")[0] if character.isdigit() or character == ".")
    start = -1.0 if value.startswith("under ") else float(digits) if digits and fact == AGE else 0.0
    return fact, int(value == UNKNOWN), start, value


def read_subgroups(path: Path) -> dict[str, frozenset[str]]:
    """Read the case ids of each subgroup, in display order.

    Args:
        path: The file.
    """
    return members(read_parquet(path, columns=["case_id", "subgroup"]).to_pylist())


def members(rows: Iterable[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """Collect the case ids of each subgroup, in display order, from rows with `case_id` and `subgroup`."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["subgroup"], set()).add(row["case_id"])
    return {name: frozenset(found[name]) for name in sorted(found, key=band_order)}
