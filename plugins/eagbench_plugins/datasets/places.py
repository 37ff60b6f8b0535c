"""Tables that join a source's rows to the vocabulary's places: by their key, and texts that stand for a number."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from eagbench.api import SourceItem

Places = Sequence[tuple[int, SourceItem]]  # each with its position among all places


def place_keys(places: Places, key: str) -> pl.LazyFrame:
    """Return `key` (text) and `place` (position) of each place."""
    return pl.LazyFrame(
        {key: [str(item.keys[key]) for _, item in places], "place": [index for index, _ in places]},
        schema={key: pl.String, "place": pl.Int64},
    )


def translations(places: Places, text: str) -> pl.LazyFrame:
    """Return `place`, the column `text` and the number that it stands for (`translated`)."""
    return pl.LazyFrame(
        [(index, written, number) for index, item in places for written, number in item.values.items()],
        schema={"place": pl.Int64, text: pl.String, "translated": pl.Float64},
        orient="row",
    )
