"""Items of the synthetic hospital that no record reads: what most of MIMIC-IV's charted events are.

MIMIC-IV has about 4,600 charted events a stay (430 million in 94,000 stays), of which a benchmark reads some 50 items.
The rest are alarm limits, nursing assessments, ventilator settings and the like. Here they are made-up items with ids
of their own, so that nobody takes them for MIMIC-IV's.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from eagbench_plugins.datasets.mimic4.synthetic_charting import Grid
from eagbench_plugins.datasets.mimic4.synthetic_items import Item

# With the items that are read, about 6 events an hour, these make about 4,600 a stay.
EVENTS_PER_HOUR = 52.6
_COUNT = 120
_FIRST = 290_001
_PHRASES = (
    "Alarms On",
    "Clear",
    "Diminished",
    "Within normal limits",
    "Not applicable",
    "1+ Trace",
    "Easily palpable",
    'Turned, "left side", pillow support',
    "No changes since the last assessment",
    "Yes",
)

UNREAD: tuple[Item, ...] = tuple(
    Item(_FIRST + i, f"Synthetic entry {i + 1}", "" if i % 2 else "units", i % 3, "Synthetic", f"SE{i + 1}",
         "Text" if i % 2 else "Numeric")
    for i in range(_COUNT)
)  # fmt: skip


def unread(rng: np.random.Generator, grid: Grid) -> pl.DataFrame:
    """Generate the events of `UNREAD`: stay, minute, itemid, value, valuenum, valueuom."""
    rates = np.linspace(0.1, 0.9, _COUNT)
    rates *= EVENTS_PER_HOUR / rates.sum()
    rows, items = [], []
    for item, rate in zip(UNREAD, rates, strict=True):
        charted = np.flatnonzero(rng.random(len(grid.stay)) < rate)
        rows.append(charted)
        items.append(np.full(len(charted), item.itemid))
    row, itemid = np.concatenate(rows), np.concatenate(items)
    is_text = (itemid - _FIRST) % 2 == 1
    number = pl.Series(np.round(rng.gamma(2.0, 20.0, len(row)), 1)).cast(pl.String)
    phrase = pl.Series(_PHRASES).gather(rng.integers(0, len(_PHRASES), len(row)))
    frame = pl.DataFrame(
        {
            "stay": grid.stay[row],
            "minute": grid.minute[row] + rng.integers(0, 60, len(row)),
            "itemid": itemid,
            "number": number,
            "phrase": phrase,
            "is_text": is_text,
        }
    )
    nothing = pl.lit(None, dtype=pl.String)
    return frame.select(
        "stay",
        "minute",
        "itemid",
        pl.when("is_text").then("phrase").otherwise("number").alias("value"),
        pl.when("is_text").then(nothing).otherwise("number").alias("valuenum"),
        pl.when("is_text").then(nothing).otherwise(pl.lit("units")).alias("valueuom"),
    )
