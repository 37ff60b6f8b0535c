"""JSON files that people look at too: a line for each entry, and for each item of a list in one.

Python's own indented form goes through an encoder in Python, which takes ten times as long.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def lines_of(content: Mapping[str, Any], *, sort_keys: bool = False) -> str:
    """Write a JSON object with a line for each entry, and for each item of an entry that is a list or an object.

    Args:
        content: The object; its keys are texts.
        sort_keys: Whether keys are sorted, at every depth.
    """

    def text(value: Any) -> str:
        return json.dumps(value, sort_keys=sort_keys)

    def entry(value: Any) -> str:
        if isinstance(value, list | tuple) and value:
            return "[\n  " + ",\n  ".join(map(text, value)) + "\n ]"
        if isinstance(value, dict) and value:
            items = sorted(value.items()) if sort_keys else value.items()
            return "{\n  " + ",\n  ".join(f"{text(str(key))}: {text(item)}" for key, item in items) + "\n }"
        return text(value)

    entries = sorted(content.items()) if sort_keys else content.items()
    return "{\n " + ",\n ".join(f"{text(key)}: {entry(value)}" for key, value in entries) + "\n}"
