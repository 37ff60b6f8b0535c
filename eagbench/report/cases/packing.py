"""Short forms in which the page's scripts hold many numbers and texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from eagbench.contracts.records import Case
from eagbench.runs.cases.answers import MethodAnswers

# A probability is two base-36 digits of its thousandths. The numbers after 1,000 stand for what is no probability.
UNREAD, NONE = 1001, 1002
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def script(function: str, *values: Any) -> str:
    """Write a script that hands JSON values to a function of the page.

    Only ASCII, and no `<`, so that nothing in a record or a model's text can end the script or begin another.
    """
    written = ",".join(
        json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c") for value in values
    )
    return f"{function}({written});\n"


def packed(answers: MethodAnswers) -> str:
    """Write the answers of all cases as one text of two characters each."""
    thousandths = np.where(
        np.isnan(answers.probability),
        NONE,
        np.where(answers.parsed, np.round(1000 * np.nan_to_num(answers.probability)), UNREAD),
    ).astype(int)
    return "".join(_DIGITS[n // 36] + _DIGITS[n % 36] for n in thousandths.tolist())


def short(value: float, digits: int = 5) -> float:
    """Round to significant digits."""
    return float(f"{value:.{digits}g}")


def packed_record(case: Case, places: dict[str, int]) -> dict[str, Any]:
    """Write a record: its times, and for each observed feature the positions of its times and its values.

    Args:
        case: The record.
        places: The position of each feature in the page's list.
    """
    values: dict[int, tuple[list[int], list[float]]] = {}
    for column, name in enumerate(case.features):
        seen = np.flatnonzero(~np.isnan(case.values[:, column]))
        if len(seen):
            numbers = [short(value) for value in case.values[seen, column].tolist()]
            values[places[name]] = seen.tolist(), numbers
    static = {name: short(value) for name, value in case.static.items() if not np.isnan(value)}
    return {"times": [round(time, 2) for time in case.times.tolist()], "values": values, "static": static}


class Texts:
    """Texts that share their beginnings and ends, each part written once in a shard."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._place: dict[str, int] = {}

    def add(self, texts: Sequence[str]) -> list[list[int]]:
        """Divide texts into a common beginning, their own middles and a common end.

        Returns:
            For each text the positions of its parts.
        """
        begin = _common_beginning(texts)
        rests = [text[len(begin) :] for text in texts]
        end = _common_beginning([rest[::-1] for rest in rests])[::-1]
        middles = [rest[: len(rest) - len(end)] for rest in rests]
        return [[self._part(part) for part in (begin, middle, end)] for middle in middles]

    def _part(self, text: str) -> int:
        if text not in self._place:
            self._place[text] = len(self.parts)
            self.parts.append(text)
        return self._place[text]


def _common_beginning(texts: Sequence[str]) -> str:
    """Return the longest beginning that all texts have: that of the first and the last in order."""
    if not texts:
        return ""
    first, last = min(texts), max(texts)
    n = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:n]
