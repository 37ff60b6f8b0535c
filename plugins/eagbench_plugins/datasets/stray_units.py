"""The rule for values in a unit that nobody can convert: a few are removed and counted, more stop the cohort."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from eagbench.api import UserError

# A few results of millions carry a stray unit. More means that something is wrong.
STRAY_UNITS = 0.001


@contextmanager
def few_stray(stray: Counter[str], concept: str, count: int, of: int, where: str | None = None) -> Iterator[None]:
    """Convert `count` values of a concept inside; if that fails and they are few, count them as stray.

    Args:
        stray: Counts stray values by concept.
        concept: The concept.
        count: How many values share the unit.
        of: How many values there are, those of other units included.
        where: What the message points at; None for the place that the conversion names.

    Raises:
        UserError: The unit can't be converted, and too many values have it.
    """
    try:
        yield
    except UserError as error:
        if count > STRAY_UNITS * of:
            raise UserError(error.what, where=where or error.where, hint=error.hint) from error
        stray[concept] += count


def stray_notes(stray: Mapping[str, int]) -> tuple[str, ...]:
    """Say how many values were removed because of their unit; nothing if there are none."""
    if not stray:
        return ()
    counts = ", ".join(f"{count} of {name}" for name, count in sorted(stray.items()))
    return (f"Values removed because their unit is unknown and rare: {counts}.",)
