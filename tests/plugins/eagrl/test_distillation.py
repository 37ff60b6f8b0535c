"""Selection of what is learnt from: known answers and properties."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from eagbench_plugins.eagrl.distillation import Selection, select


def line(case_id: str, *trajectories: tuple[str, float | None, float]) -> dict:
    return {
        "case_id": case_id,
        "trajectories": [{"text": t, "probability": p, "reward": {"total": total}} for t, p, total in trajectories],
    }


FOUND = [
    line("dies", ("a", 0.9, 0.5), ("a", 0.9, 0.5), ("b", 0.7, 0.1), ("c", 0.6, -0.3)),
    line("lives", ("d", 0.1, 0.4), ("e", None, -4.0)),
    line("lives too", ("f", 0.2, 0.3)),
    line("nothing found"),
]
LABEL = {"dies": 1, "lives": 0, "lives too": 0, "nothing found": 1}


def texts(**rules) -> list[str]:
    return [item.text for item in select(FOUND, LABEL, Selection(**rules))]


def test_the_best_distinct_readable_trajectories_of_each_case() -> None:
    assert texts(top_k=2, balance=False) == ["a", "b", "d", "f"]
    assert texts(top_k=9, balance=False) == ["a", "b", "c", "d", "f"]


def test_the_rarer_class_is_repeated_in_turn() -> None:
    assert texts(top_k=1) == ["a", "d", "f", "a"]
    assert texts(top_k=3) == ["a", "b", "c", "d", "f", "d"]


def test_each_class_has_its_threshold() -> None:
    assert texts(top_k=9, balance=False, minimum_reward_positive=0.0) == ["a", "b", "d", "f"]
    assert texts(top_k=9, balance=False, minimum_reward_negative=0.35) == ["a", "b", "c", "d"]
    assert texts(top_k=9, minimum_reward_positive=0.9) == ["d", "f"]


@given(
    found=st.lists(
        st.tuples(st.integers(0, 1), st.lists(st.tuples(st.sampled_from("abcd"), st.floats(-5, 1)), max_size=6)),
        max_size=12,
    ),
    top_k=st.integers(1, 4),
)
def test_balanced_classes_are_equal_and_hold_nothing_new(found, top_k: int) -> None:
    label = {str(i): value for i, (value, _) in enumerate(found)}
    lines = [
        line(str(i), *((text, 0.5, total) for text, total in sorted(drawn, key=lambda item: -item[1])))
        for i, (_, drawn) in enumerate(found)
    ]
    plain = select(lines, label, Selection(top_k=top_k, balance=False))
    balanced = select(lines, label, Selection(top_k=top_k))
    assert balanced[: len(plain)] == plain
    assert set(balanced) == set(plain)
    count = Counter(item.label for item in balanced)
    if len(count) == 2:
        assert count[0] == count[1]
    assert max(Counter(item.case_id for item in plain).values(), default=0) <= top_k
