from __future__ import annotations

import math

import pytest

from eagbench.report import wording


@pytest.mark.parametrize(
    ("metric", "value", "written"),
    [
        ("auroc", 0.84251, "0.843"),
        ("auroc", float("nan"), "undefined"),
        ("unparsed_rate", 0.0631, "6.3 %"),
        ("anything", -0.5, "\u22120.500"),
    ],
)
def test_numbers(metric, value, written):
    assert wording.number(value, metric) == written


def test_metric_names():
    assert wording.metric_heading("auroc") == "AUROC ↑"
    assert wording.metric_heading("brier") == "Brier score ↓"
    assert wording.metric_heading("a_plugins_metric") == "a plugins metric"
    assert wording.metric_label("brier:worst_case") == "Brier score, worst case"


def test_loss_is_positive_where_a_metric_gets_worse():
    assert wording.loss("auroc", 0.8, 0.6) == pytest.approx(0.2)
    assert wording.loss("brier", 0.1, 0.3) == pytest.approx(0.2)
    assert math.isnan(wording.loss("a_plugins_metric", 1, 2))


@pytest.mark.parametrize(("seconds", "written"), [(2.34, "2.3 s"), (75, "1 min 15 s"), (3725, "1 h 02 min")])
def test_durations(seconds, written):
    assert wording.duration(seconds) == written


@pytest.mark.parametrize(
    ("items", "written"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")]
)
def test_enumerations(items, written):
    assert wording.enumeration(items) == written
