from __future__ import annotations

import math

import pytest

from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.calibration import Brier
from eagbench.metrics.discrimination import Auroc
from eagbench.metrics.unparsed import UnparsedRate
from eagbench.report import wording

NEITHER = MetricTraits(better="neither")


@pytest.mark.parametrize(
    ("traits", "value", "written"),
    [
        (Auroc.traits, 0.84251, "0.843"),
        (Auroc.traits, float("nan"), "undefined"),
        (UnparsedRate.traits, 0.0631, "6.3 %"),
        (None, -0.5, "\u22120.500"),
        (MetricTraits(better="lower", decimals=0), 12_345.4, "12,345"),
        (MetricTraits(better="lower", decimals=1), -0.04, "0.0"),
    ],
)
def test_numbers(traits, value, written):
    assert wording.number(value, traits) == written


def test_metric_names():
    assert wording.metric_heading("auroc", Auroc.traits) == "AUROC ↑"
    assert wording.metric_heading("brier", Brier.traits) == "Brier score ↓"
    assert wording.metric_heading("a_plugins_metric", NEITHER) == "a plugins metric"
    assert wording.metric_heading("a_plugins_metric", MetricTraits(better="lower", label="Cost")) == "Cost ↓"
    assert wording.metric_label("brier:worst_case", Brier.traits) == "Brier score, worst case"
    assert wording.metric_label("brier@prior_corrected", Brier.traits) == "Brier score, prior corrected"


def test_loss_is_positive_where_a_metric_gets_worse():
    assert wording.loss(Auroc.traits, 0.8, 0.6) == pytest.approx(0.2)
    assert wording.loss(Brier.traits, 0.1, 0.3) == pytest.approx(0.2)
    assert math.isnan(wording.loss(NEITHER, 1, 2))


@pytest.mark.parametrize(("seconds", "written"), [(2.34, "2.3 s"), (75, "1 min 15 s"), (3725, "1 h 02 min")])
def test_durations(seconds, written):
    assert wording.duration(seconds) == written


@pytest.mark.parametrize(
    ("items", "written"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")]
)
def test_enumerations(items, written):
    assert wording.enumeration(items) == written
