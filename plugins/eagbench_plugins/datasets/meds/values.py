"""Selects the numbers in the cases' windows, and converts them once all values have shown their unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from eagbench.api import FloatArray, SourceItem, StageRun, UserError, Vocabulary
from eagbench_plugins.datasets.case_partitions import CasePartitions
from eagbench_plugins.datasets.meds.codes import has_unit
from eagbench_plugins.datasets.meds.shards import SCHEMA, data_blocks
from eagbench_plugins.datasets.meds.source_files import SourceFiles
from eagbench_plugins.datasets.places import place_keys, translations
from eagbench_plugins.datasets.stray_units import few_stray
from eagbench_plugins.datasets.unit_groups import values_of_groups
from eagbench_plugins.datasets.value_counts import ValueCounts, repeated

_FOUND = pl.Schema({"case": pl.Int64, "elapsed": pl.Duration("us"), "place": pl.Int64, "number": pl.Float64})


@dataclass(frozen=True, slots=True)
class InWindows:
    """The numbers in the cases' windows.

    Attributes:
        rows: By ranges of cases, in the files' order: `case`, `elapsed` since the start of its window, `place`
            (position among the places), `number`.
        counts: How often (`n`) each `number` occurs by `place`, sorted by these.
    """

    rows: CasePartitions
    counts: pl.DataFrame


def read_windows(files: SourceFiles, cases: pl.DataFrame, places: Sequence[SourceItem], run: StageRun) -> InWindows:
    """Read all shards once, and keep the cases' measurements, on disk.

    Args:
        files: The data.
        cases: `case`, `subject_id`, `start`, `prediction_time`, sorted by subject.
        places: The codes to read, by precedence.
        run: Shows progress, and has a folder for the measurements.

    Raises:
        UserError: A file can't be read, lacks a column, or has a column of another type.
    """
    numbered = list(enumerate(places))
    codes, texts = place_keys(numbered, "code"), translations(numbered, "text_value")
    windows = cases.select("case", "subject_id", "start", "prediction_time")
    rows = CasePartitions(run.checkpoints / "events", len(cases))
    counts = ValueCounts(pl.Schema({name: _FOUND[name] for name in ("place", "number")}))
    rows.add(pl.DataFrame(schema=_FOUND))  # for data without rows
    for block in run.progress(data_blocks(files.shards, SCHEMA.names()), "read MEDS' measurements", None):
        found = _in_windows(block, _of_subjects(windows, block["subject_id"]), codes, texts)
        rows.add(found)
        counts.add(found)
    return InWindows(rows, counts.total())


def _of_subjects(windows: pl.DataFrame, subjects: pl.Series) -> pl.DataFrame:
    """Return the windows from the least to the greatest of the subjects: few, since shards are sorted by subject."""
    known = windows["subject_id"]
    first = int(known.search_sorted(subjects.min(), "left"))
    return windows.slice(first, int(known.search_sorted(subjects.max(), "right")) - first)


def _in_windows(block: pl.DataFrame, windows: pl.DataFrame, codes: pl.LazyFrame, texts: pl.LazyFrame) -> pl.DataFrame:
    return (
        block.lazy()
        .with_row_index("row")
        .join(codes, on="code")
        .join(windows.lazy(), on="subject_id")
        .filter((pl.col("time") >= pl.col("start")) & (pl.col("time") < pl.col("prediction_time")))
        .join(texts, on=["place", "text_value"], how="left")
        .with_columns(
            pl.coalesce("translated", "numeric_value").alias("number"),
            (pl.col("time") - pl.col("start")).alias("elapsed"),
        )
        .filter(pl.col("number").is_finite())
        .sort("row", "case")
        .select(_FOUND.names())
        .collect()
    )


class Canonical:
    """Converts the values of each code, once all values have shown their unit.

    Args:
        counts: How often (`n`) each `number` occurs by `place`, sorted by these.
        places: How to read each code.
        words: The vocabulary.

    Attributes:
        implausible: Values removed per concept because no living patient has them.
        stray: Values removed per concept because of their unit.

    Raises:
        UserError: A unit is missing or unknown, or values can't be in the named unit.
    """

    def __init__(self, counts: pl.DataFrame, places: Sequence[SourceItem], words: Vocabulary) -> None:
        self._places, self._words = places, words
        self._convertible: set[int] = set()
        implausible, stray, of_concept = Counter[str](), Counter[str](), Counter[str]()
        for index, n in counts.group_by("place").agg(pl.col("n").sum()).iter_rows():
            of_concept[places[index].concept] += n
        for (index,), rows in counts.partition_by("place", as_dict=True, maintain_order=True).items():
            item = places[index]
            where = f"code '{item.keys['code']}'"
            with few_stray(stray, item.concept, int(rows["n"].sum()), of_concept[item.concept], where):
                implausible[item.concept] += _judged(item, rows, where, words)
                self._convertible.add(index)
        self.implausible: Mapping[str, int] = {name: n for name, n in implausible.items() if n}
        self.stray: Mapping[str, int] = dict(stray)

    def __call__(self, rows: pl.DataFrame) -> FloatArray:
        """Convert some rows (`place`, `number`, in any order); NaN where a value is removed. Shape (M,)."""
        grouped = rows.with_row_index("row").sort("place", maintain_order=True)
        values = np.empty(len(rows))
        values[grouped["row"].to_numpy()] = values_of_groups(grouped, ["place"], self._converted)
        return values

    def _converted(self, group: tuple[int], numbers: FloatArray) -> FloatArray | None:
        if group[0] not in self._convertible:
            return None
        item = self._places[group[0]]
        return self._words.keep_plausible(item.concept, self._words.from_source(item, numbers))[0]


def _judged(item: SourceItem, rows: pl.DataFrame, where: str, words: Vocabulary) -> int:
    """Check a code's unit by all its values, and count those that no living patient has."""
    if not has_unit(item):
        raise UserError(
            f"{item.concept} is given without a unit; expected {words.concept(item.concept).unit}",
            where=where,
            hint=f"Name it in data.codes: `{item.keys['code']}: {{concept: {item.concept}, unit: ...}}`.",
        )
    converted = pl.Series(words.from_source(item, rows["number"].to_numpy()))
    return words.clean(item.concept, repeated(converted, rows["n"]).to_numpy(), where, item.unit)[1]
