"""The compact form of a record: a line per measured feature, with its real numbers and, once, their hours.

    sex=male age=65 years
    heart_rate=57L,80,120H beats/min @0.5,2..3
    temperature=37.2 degC @2
    lactate=3.5H mmol/L

Nothing that was measured is left out: numbers have the decimals that the vocabulary declares for their concept, hours
two decimals (36 seconds). A line without hours has those of the line above it, because tests of one blood sample follow
each other in most records, and a..b stands for every hour from a to b.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import Feature, FloatArray, Rendering

_HOUR_DECIMALS = 2
# Two hours in a row are shorter as they are.
_SHORTEST_RUN = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """What one line says.

    Attributes:
        shown: Name, unit and scale on the line.
        values: The numbers with their marks, in order of time.
        hours: The hours of the values.
    """

    shown: Rendering
    values: str
    hours: str


def legend(window_hours: str, periods: int | None) -> str:
    """Say how the lines are to be read, in one line.

    Args:
        window_hours: The hours that are shown.
        periods: Number of parts of which the last value is shown; None for every value.
    """
    which = "" if periods is None else f"the last values of {periods} parts, each at its end; "
    return (
        f"feature=values unit @hours (in the first {window_hours}); {which}no @: those of the line above; "
        "2..5: 2,3,4,5; L, H: below, above the reference range. What is not listed was not measured.\n"
    )


def measured(
    feature: Feature, shown: Rendering, times: FloatArray, column: FloatArray, marks: Sequence[str]
) -> Measured:
    """Gather what a feature's line says.

    Args:
        feature: The feature.
        shown: Name, unit and scale on the line.
        times: Hours, shape (P,).
        column: Values in the feature's unit, NaN where nothing was measured, shape (P,).
        marks: For each value L, H or nothing, length P.
    """
    # In another unit the declared decimals would be too few or too many.
    decimals = feature.decimals if (shown.factor, shown.offset) == (1.0, 0.0) else None
    at = np.nonzero(~np.isnan(column))[0].tolist()
    values = ",".join(number(column[i] * shown.factor + shown.offset, decimals) + marks[i] for i in at)
    return Measured(shown, values, _hours([float(times[i]) for i in at]))


def lines(found: Iterable[Measured], *, units: bool) -> list[str]:
    """Write each line after the one before it; nothing for a feature without a value.

    Args:
        found: What the lines say, in the record's order.
        units: Whether a line names the unit.
    """
    written, above = [], ""
    for line in found:
        if not line.values:
            written.append("")
            continue
        unit = f" {line.shown.unit}" if units and line.shown.unit != "1" else ""
        hours = "" if line.hours == above else f" @{line.hours}"
        written.append(f"{line.shown.name}={line.values}{unit}{hours}")
        above = line.hours
    return written


def number(value: float, decimals: int | None) -> str:
    """Format a number with so many decimals, or with four significant digits; without an exponent or closing zeros."""
    precision, fractional = (4, False) if decimals is None else (decimals, True)
    text = np.format_float_positional(float(value), precision=precision, unique=False, fractional=fractional, trim="-")
    return "0" if text == "-0" else text


def _hours(hours: Sequence[float]) -> str:
    """Write hours in their order; three or more that follow each other by exactly one hour as a..b."""
    hundredths = [round(hour * 10**_HOUR_DECIMALS) for hour in hours]
    parts, start = [], 0
    while start < len(hours):
        end = start
        while end + 1 < len(hours) and hundredths[end + 1] - hundredths[end] == 10**_HOUR_DECIMALS:
            end += 1
        if end - start + 1 < _SHORTEST_RUN:
            end = start
        parts.append(_hour(hundredths[start]) + ("" if end == start else f"..{_hour(hundredths[end])}"))
        start = end + 1
    return ",".join(parts)


def _hour(hundredths: int) -> str:
    return number(hundredths / 10**_HOUR_DECIMALS, _HOUR_DECIMALS)
