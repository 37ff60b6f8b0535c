from __future__ import annotations

import numpy as np

from builders import make_case, make_cohort_cases
from eagbench_plugins.experts.salience import as_salience

NAN = float("nan")


def test_weights_are_put_in_the_order_of_the_cohort_and_normalised() -> None:
    cases = make_cohort_cases([make_case({"a": [1.0], "b": [1.0], "c": [1.0]})], ["a", "b", "c"])
    salience = as_salience(np.array([[3.0, 1.0, 4.0]]), ["c", "unknown", "a"], cases)
    np.testing.assert_allclose(salience, [[4 / 7, 0.0, 3 / 7]])


def test_a_case_without_weight_gets_equal_weights_on_what_it_observed() -> None:
    observed = make_case({"a": [1.0, NAN], "b": [NAN, NAN], "c": [NAN, 2.0]})
    empty = make_case({"a": [NAN], "b": [NAN], "c": [NAN]})
    cases = make_cohort_cases([observed, empty], ["a", "b", "c"])
    np.testing.assert_allclose(as_salience(np.zeros((2, 3)), "abc", cases), [[0.5, 0.0, 0.5], [1 / 3, 1 / 3, 1 / 3]])


def test_what_the_expert_does_not_read_has_a_weight_only_where_nothing_else_could() -> None:
    observed = make_case({"a": [1.0], "b": [NAN], "c": [2.0]})
    elsewhere = make_case({"a": [NAN], "b": [NAN], "c": [2.0]})
    cases = make_cohort_cases([observed, elsewhere], ["a", "b", "c"])
    np.testing.assert_allclose(as_salience(np.zeros((2, 2)), "ab", cases), [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    np.testing.assert_allclose(as_salience(np.zeros((2, 1)), "z", cases), [[0.5, 0.0, 0.5], [0.0, 0.0, 1.0]])
