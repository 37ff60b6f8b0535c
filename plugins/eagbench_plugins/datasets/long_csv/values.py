"""Decides which variables are read, and converts their values with the vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from eagbench.api import FloatArray, SourceItem, UserError, Vocabulary
from eagbench_plugins.datasets.long_csv.params import LongCsvParams, Variable
from eagbench_plugins.datasets.stray_units import few_stray
from eagbench_plugins.datasets.unit_groups import values_of_groups
from eagbench_plugins.datasets.value_counts import repeated

_UNITS = ("place", "unit")


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


class Canonical:
    """Converts the values of each variable and unit, once all values have shown their units.

    Args:
        counts: How often (`n`) each `number` occurs by `place` and `unit`, sorted by these.
        places: How to read each variable.
        words: The vocabulary.
        paths: The files of events, for error messages.

    Attributes:
        implausible: Values removed per concept because no living patient has them.
        stray_units: Values removed per concept because of their unit.

    Raises:
        UserError: A unit is missing or unknown, or values can't be in the named unit.
    """

    def __init__(
        self, counts: pl.DataFrame, places: Sequence[SourceItem], words: Vocabulary, paths: Sequence[Path]
    ) -> None:
        self._places, self._words = places, words
        self._files = ", ".join(path.name for path in paths)
        self._convertible: set[tuple[int, str | None]] = set()
        implausible, stray, of_concept = Counter[str](), Counter[str](), Counter[str]()
        for place, n in counts.group_by("place").agg(pl.col("n").sum()).iter_rows():
            of_concept[places[place].concept] += n
        for (place, unit), rows in counts.partition_by(_UNITS, as_dict=True, maintain_order=True).items():
            concept = places[place].concept
            count, where = int(rows["n"].sum()), self._where(places[place])
            with few_stray(stray, concept, count, of_concept[concept], where):
                implausible[concept] += self._judged(places[place], unit, rows, where)
                self._convertible.add((place, unit))
        self.implausible: Mapping[str, int] = {name: n for name, n in implausible.items() if n}
        self.stray_units: Mapping[str, int] = dict(stray)

    def __call__(self, rows: pl.DataFrame) -> FloatArray:
        """Convert some rows (`place`, `number`, `unit`, in any order); NaN where a value is removed. Shape (M,)."""
        grouped = rows.with_row_index("row").sort(_UNITS, maintain_order=True)
        values = np.empty(len(rows))
        values[grouped["row"].to_numpy()] = values_of_groups(grouped, _UNITS, self._converted)
        return values

    def _converted(self, group: tuple[int, str | None], numbers: FloatArray) -> FloatArray | None:
        if group not in self._convertible:
            return None
        place = self._places[group[0]]
        return self._words.keep_plausible(place.concept, self._words.from_source(place, numbers, group[1]))[0]

    def _judged(self, item: SourceItem, unit: str | None, rows: pl.DataFrame, where: str) -> int:
        """Check a unit by all its values, and count those that no living patient has."""
        _check_unit(item, unit, self._words)
        converted = pl.Series(self._words.from_source(item, rows["number"].to_numpy(), unit))
        values = repeated(converted, rows["n"]).to_numpy()
        return self._words.clean(item.concept, values, where, unit or item.unit or None)[1]

    def _where(self, item: SourceItem) -> str:
        return f"{self._files}, variable '{item.keys['variable']}'"


def _check_unit(item: SourceItem, unit: str | None, words: Vocabulary) -> None:
    expected = words.concept(item.concept).unit
    if not unit and not item.unit and expected != "1":
        name = item.keys["variable"]
        raise UserError(
            f"{item.concept} is given without a unit; expected {expected}",
            hint=f"Name it in the file's column of units or in data.variables: "
            f"`{name}: {{concept: {item.concept}, unit: ...}}`.",
        )
