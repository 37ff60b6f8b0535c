"""The short forms in the page's scripts say what they were made from, and hold nothing that a browser would run."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eagbench.contracts.records import Case
from eagbench.report.cases.packing import NONE, UNREAD, Texts, packed, packed_record, script
from eagbench.runs.cases.answers import MethodAnswers


def test_answers_are_two_digits_each() -> None:
    answers = MethodAnswers(np.array([0.0, 0.1234, 1.0, 0.3, np.nan]), np.array([True, True, True, False, False]))
    text = packed(answers)
    assert [int(text[i : i + 2], 36) for i in range(0, 10, 2)] == [0, 123, 1000, UNREAD, NONE]


@given(st.text(), st.lists(st.text(), max_size=3))
def test_a_script_hands_over_what_it_was_given_and_ends_nowhere_else(text: str, more: list[str]) -> None:
    written = script("cases.shard", text, more)
    inside = written.removeprefix("cases.shard(").removesuffix(");\n")
    assert json.loads(f"[{inside}]") == [text, more]
    assert "<" not in written
    assert written.isascii()
    assert written.count("\n") == 1


@given(st.lists(st.text(alphabet="ab<\n", max_size=8), max_size=5))
def test_texts_come_back_from_their_parts(texts: list[str]) -> None:
    shared = Texts()
    places = shared.add([f"begin {text} end" for text in texts])
    assert ["".join(shared.parts[p] for p in parts) for parts in places] == [f"begin {text} end" for text in texts]


def test_a_common_beginning_is_written_once() -> None:
    shared = Texts()
    shared.add(["The record: a. Answer!", "The record: b. Answer!"])
    assert shared.parts == ["The record: ", "a", ". Answer!", "b"]


def test_a_record_keeps_what_was_measured() -> None:
    values = np.array([[1.0, np.nan], [2.34567891, np.nan], [np.nan, np.nan]], np.float32)
    case = Case("c", "p", ("pulse", "sodium"), np.array([0.0, 1.5, 2.0]), values, {"age": 61.0, "sex": np.nan})
    record = packed_record(case, {"sodium": 0, "pulse": 1})
    assert record == {"times": [0.0, 1.5, 2.0], "values": {1: ([0, 1], [1.0, 2.3457])}, "static": {"age": 61.0}}
