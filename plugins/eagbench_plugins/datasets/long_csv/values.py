"""Decides which variables are read, and converts their values with the vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from eagbench.api import FloatArray, SourceItem, UserError, Vocabulary
from eagbench_plugins.datasets.long_csv.params import LongCsvParams, Variable
from eagbench_plugins.datasets.stray_units import few_stray


@dataclass(frozen=True, slots=True)
class Values:
    """Values in canonical units.

    Attributes:
        values: One per row of the events, NaN where removed. Shape (M,).
        implausible: Values removed per concept because no living patient has them.
        stray_units: Values removed per concept because of their unit.
    """

    values: FloatArray
    implausible: Mapping[str, int]
    stray_units: Mapping[str, int]


def places_of(params: LongCsvParams, words: Vocabulary) -> list[SourceItem]:
    """Say how to read each variable, by precedence: those of `data.variables`, then those called like a concept."""
    variables = dict(params.variables)
    for name in words.names:
        variables.setdefault(name, Variable(concept=name))
    wanted = words.names if params.concepts is None else params.concepts
    return [
        SourceItem.model_validate(
            {
                "concept": variable.concept,
                "unit": variable.unit or "",
                "keys": {"variable": name},
                "values": variable.values,
                "mixed": None if variable.mixed is None else variable.mixed.model_dump(),
            }
        )
        for name, variable in variables.items()
        if variable.concept in wanted
    ]


def canonical(rows: pl.DataFrame, places: Sequence[SourceItem], words: Vocabulary, paths: Sequence[Path]) -> Values:
    """Convert the values of each variable and unit.

    Args:
        rows: `place`, `number`, `unit`. M rows, in any order.
        places: How to read each variable.
        words: The vocabulary.
        paths: The files of events, for error messages.

    Raises:
        UserError: A unit is missing or unknown, or values can't be in the named unit.
    """
    numbers = rows["number"].to_numpy()
    values = np.full(len(rows), np.nan)
    implausible, stray, of_concept = Counter[str](), Counter[str](), Counter[str]()
    groups = rows.with_row_index("row").group_by("place", "unit").agg("row").sort("place", "unit", nulls_last=False)
    for place, _, members in groups.iter_rows():
        of_concept[places[place].concept] += len(members)
    for place, unit, members in groups.iter_rows():
        item, part = places[place], np.array(members, dtype=np.int64)
        where = f"{', '.join(path.name for path in paths)}, variable '{item.keys['variable']}'"
        with few_stray(stray, item.concept, len(part), of_concept[item.concept], where):
            _check_unit(item, unit, words)
            converted = words.from_source(item, numbers[part], unit)
            values[part], removed = words.clean(item.concept, converted, where, unit or item.unit or None)
            implausible[item.concept] += removed
    return Values(values, {name: n for name, n in implausible.items() if n}, dict(stray))


def _check_unit(item: SourceItem, unit: str | None, words: Vocabulary) -> None:
    expected = words.concept(item.concept).unit
    if not unit and not item.unit and expected != "1":
        name = item.keys["variable"]
        raise UserError(
            f"{item.concept} is given without a unit; expected {expected}",
            hint=f"Name it in the file's column of units or in data.variables: "
            f"`{name}: {{concept: {item.concept}, unit: ...}}`.",
        )
