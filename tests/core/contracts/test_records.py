"""Records: columns chosen by their numbers go with their features."""

from __future__ import annotations

import numpy as np

from tests.builders import make_case

CASE = make_case({"heart_rate": [60.0, 61.0], "glucose": [100.0, np.nan], "creatinine": [0.9, 1.0]})


def test_columns_are_kept_in_the_order_that_is_asked_for() -> None:
    turned = CASE.with_columns([2, 0])
    assert turned.features == ("creatinine", "heart_rate")
    assert np.array_equal(turned.values, CASE.values[:, [2, 0]])
    assert (turned.case_id, turned.static, turned.renderings) == (CASE.case_id, CASE.static, CASE.renderings)
    assert np.array_equal(CASE.with_columns(np.array([1, 2, 0])).values_in_order(CASE.features), CASE.values, True)


def test_no_columns_leave_a_record_without_features() -> None:
    empty = CASE.with_columns([])
    assert (empty.features, empty.values.shape) == ((), (2, 0))
