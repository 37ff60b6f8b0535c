"""Durations as a user writes them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def seconds(value: Any) -> Any:
    """Read a duration such as `90`, `30m` or `2h` as seconds; leave anything but a text as it is.

    Raises:
        ValueError: The text is no duration.
    """
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d|)\s*", value)
    if found is None:
        raise ValueError("write it in seconds, or as 30m or 2h")
    return float(found[1]) * _UNITS[found[2]]


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
