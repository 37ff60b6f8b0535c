"""JSON with a line per entry reads back as what was written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eagbench.execution.json_text import lines_of

CONTENTS: list[dict[str, Any]] = [
    {},
    {"b": 1, "a": [], "c": {}, "d": None, "e": "ä\n\"'", "f": float("inf")},
    {"stages": [{"z": [1, 2], "y": {"x": True}}, {}], "files": {"b.parquet": "0f", "a": ["1"]}},
]


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("sort_keys", [False, True])
def test_it_reads_back(content: dict[str, Any], sort_keys: bool) -> None:
    """The order of keys stays, or is the alphabet's."""
    text = lines_of(content, sort_keys=sort_keys)
    assert json.loads(text) == content
    plain = json.dumps(content, sort_keys=sort_keys)
    assert "".join(text.split()) == "".join(plain.split())


def test_a_stage_stands_on_a_line_of_its_own() -> None:
    """Two versions of a manifest can be compared line by line."""
    assert lines_of({"n": 1, "stages": [{"a": 1}, {"b": 2}]}).splitlines() == [
        "{",
        ' "n": 1,',
        ' "stages": [',
        '  {"a": 1},',
        '  {"b": 2}',
        " ]",
        "}",
    ]
