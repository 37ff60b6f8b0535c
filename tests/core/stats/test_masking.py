from __future__ import annotations

import numpy as np
import pytest

from builders import make_case, make_cohort_cases
from eagbench.api import Case, Cases, RecordSummary
from eagbench.stats.masking import complete_facts, complete_features, mask_complete

NAN = float("nan")
NAMES = ("pressure", "lactate", "rate")
STATISTICS = ("mean", "min", "max", "first", "last", "count")


def records(n_cases: int = 1000, without_rate: int = 5) -> Cases:
    """Pressure and age are known for all, the rate for all but a few, lactate and sex for half."""
    items: list[Case] = []
    for n in range(n_cases):
        values = {
            "pressure": [120.0, NAN, 118.0],
            "lactate": [1.0, 2.0, 3.0] if n % 2 else [NAN] * 3,
            "rate": [NAN] * 3 if n < without_rate else [NAN, 80.0, 81.0],
        }
        static = {"age": 60.0, "sex": float(n % 4 // 2) if n % 2 else NAN, "score_sofa": 3.0}
        items.append(make_case(values, case_id=f"case-{n}", static=static))
    return make_cohort_cases(items, NAMES, ["age", "sex"])


@pytest.mark.parametrize(("missing", "expected"), [(0, True), (5, True), (6, False), (1000, False)])
def test_complete_is_what_995_of_1000_cases_have(missing: int, expected: bool) -> None:
    assert ("rate" in complete_features(records(without_rate=missing))) is expected
    assert complete_features(records().select([])) == ()


def test_facts_are_complete_by_the_same_rule_and_other_keys_are_none() -> None:
    assert complete_facts(records()) == ("age",)


def test_the_declared_share_loses_all_statistics_together_and_the_count_is_0() -> None:
    cases = records()
    masked = mask_complete(cases, 0.05, seed=3)
    table = RecordSummary(NAMES, ("age", "sex"), STATISTICS).table(masked)  # (N, 3 * 6 + 2)
    pressure, lactate = table[:, :6], table[:, 6:12]
    hidden = pressure[:, -1] == 0
    assert hidden.sum() == 50
    assert np.isnan(pressure[hidden, :-1]).all()
    np.testing.assert_array_equal(pressure[~hidden], [[119.0, 118.0, 120.0, 120.0, 118.0, 2.0]] * 950)
    np.testing.assert_array_equal(lactate, RecordSummary(("lactate",), (), STATISTICS).table(cases))
    assert np.isnan(table[:, -2]).sum() == 50  # age
    assert np.isnan(table[:, -1]).sum() == 500  # sex was unknown for half, and stays so
    assert all(case.static["score_sofa"] == 3.0 for case in masked)


def test_each_variable_is_hidden_in_cases_of_its_own() -> None:
    masked = mask_complete(records(), 0.1, seed=3)
    pressure, rate = (
        {n for n, case in enumerate(masked) if name not in case.observed()} for name in ("pressure", "rate")
    )
    age = {n for n, case in enumerate(masked) if np.isnan(case.static["age"])}
    assert len(pressure & age) < 30  # ten by chance
    assert len(pressure & rate) < 30


def test_the_draw_follows_the_seed_and_the_name_and_not_the_order_of_names() -> None:
    cases = records(200, 0)
    other = Cases(cases.features[::-1], cases.static_names[::-1], cases.task, cases.items)

    def hidden(cases: Cases, seed: int) -> list[tuple[str, ...]]:
        return [case.observed() for case in mask_complete(cases, 0.2, seed)]

    assert hidden(cases, 1) == hidden(cases, 1) == hidden(other, 1)
    assert hidden(cases, 1) != hidden(cases, 2)


def test_what_is_given_stays_as_it_is_and_nothing_is_hidden_at_a_share_of_0() -> None:
    cases = records(100, 0)
    before = [case.values.tobytes() for case in cases]
    assert mask_complete(cases, 0.0, seed=1).items == cases.items
    mask_complete(cases, 0.5, seed=1)
    assert [case.values.tobytes() for case in cases] == before
    assert all(case.static["age"] == 60.0 for case in cases)
    assert len(mask_complete(cases.select([]), 0.5, seed=1)) == 0


def test_a_record_that_lists_its_features_in_another_order_loses_the_same() -> None:
    cases = records(100, 0)
    turned = cases.with_items(
        [Case(c.case_id, c.patient_id, c.features[::-1], c.times, c.values[:, ::-1].copy(), c.static) for c in cases]
    )
    for a, b in zip(mask_complete(cases, 0.3, 1), mask_complete(turned, 0.3, 1), strict=True):
        assert set(a.observed()) == set(b.observed())
