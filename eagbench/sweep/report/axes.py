"""Axes for a parameter's values: linear, logarithmic if the space is, or with one place per choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eagbench.report.figures.svg import nice_ticks, tick_label

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True, slots=True)
class NumberAxis:
    """An axis of numbers.

    Attributes:
        low: The smallest value that the space allows.
        high: The largest.
        is_log: Whether the space is searched on a logarithmic scale.
        is_whole: Whether it has whole numbers only.
        step: Distance between neighbouring values; None if any value between the ends can be drawn.
    """

    low: float
    high: float
    is_log: bool
    is_whole: bool
    step: float | None = None

    def position(self, value: Any) -> float:
        """Return the place of a value, from 0 at the low end to 1 at the high one."""
        low, high, at = (math.log(v) if self.is_log else float(v) for v in (self.low, self.high, value))
        return 0.5 if high == low else (at - low) / (high - low)

    def ticks(self, wanted: int) -> list[tuple[float, str]]:
        """Choose ticks with their labels, about as many as wanted."""
        if self.step is not None and (self.high - self.low) / self.step <= wanted + 1:
            n = round((self.high - self.low) / self.step)
            values = [round(self.low + k * self.step, 10) for k in range(n + 1)]
        elif self.is_log:
            values = self._decades(wanted)
        else:
            values = (whole_ticks if self.is_whole else nice_ticks)(self.low, self.high, wanted)
        return [(self.position(value), tick_label(value)) for value in values]

    def _decades(self, wanted: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for multiples in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), tuple(float(m) for m in range(1, 10))):
            found = [m * 10.0**power for power in range(first, last + 1) for m in multiples]
            inside = [v for v in found if self.low * (1 - 1e-9) <= v <= self.high * (1 + 1e-9)]
            if len(inside) >= min(3, wanted):
                return inside[:: math.ceil(len(inside) / (wanted + 1))]
        return [self.low, self.high]


@dataclass(frozen=True, slots=True)
class ChoiceAxis:
    """An axis with one place for each choice, in the order of the space.

    Attributes:
        choices: The choices as the study holds them.
        labels: Their labels on the axis.
    """

    choices: tuple[Any, ...]
    labels: tuple[str, ...]

    def position(self, value: Any) -> float:
        """Return the place of a choice, in the middle of its share of the axis."""
        return (self._index(value) + 0.5) / len(self.choices)

    def ticks(self, wanted: int) -> list[tuple[float, str]]:  # noqa: ARG002 - that is every axis' signature
        """Return a tick for every choice, however many are wanted: a reader can't guess one without a label."""
        return [(self.position(choice), label) for choice, label in zip(self.choices, self.labels, strict=True)]

    def _index(self, value: Any) -> int:
        # 1, 1.0 and True are equal in Python and may all be choices.
        return next(i for i, c in enumerate(self.choices) if type(c) is type(value) and c == value)


Axis = NumberAxis | ChoiceAxis


def whole_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Choose round numbers in a range that are whole."""
    return [tick for tick in nice_ticks(low, high, wanted) if tick == round(tick)]


def axis_of(distributions: Sequence[BaseDistribution], write: Callable[[Any], str]) -> Axis:
    """Build the axis of a parameter.

    Args:
        distributions: All distributions that trials drew it from. There are several if a continued study changed its
            space; the axis then covers all of them.
        write: Formats a choice as its label.
    """
    from optuna.distributions import CategoricalDistribution, IntDistribution

    choices: dict[tuple[type, Any], Any] = {}
    numbers = []
    for distribution in distributions:
        if isinstance(distribution, CategoricalDistribution):
            choices.update({(type(choice), choice): choice for choice in distribution.choices})
        else:
            numbers.append(distribution)
    if choices:
        return ChoiceAxis(tuple(choices.values()), tuple(write(choice) for choice in choices.values()))
    return NumberAxis(
        low=min(float(d.low) for d in numbers),  # type: ignore[attr-defined]
        high=max(float(d.high) for d in numbers),  # type: ignore[attr-defined]
        is_log=all(bool(d.log) for d in numbers),  # type: ignore[attr-defined]
        is_whole=all(isinstance(d, IntDistribution) for d in numbers),
        step=numbers[0].step if len(numbers) == 1 and not numbers[0].log else None,  # type: ignore[attr-defined]
    )


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Shorten each dotted path to the last parts that tell it from the others: `simulations`, `search.name`."""
    short = {}
    for path in paths:
        parts = path.split(".")
        others = [other.split(".") for other in paths if other != path]
        n = next((n for n in range(1, len(parts)) if all(o[-n:] != parts[-n:] for o in others)), len(parts))
        short[path] = ".".join(parts[-n:])
    return short
