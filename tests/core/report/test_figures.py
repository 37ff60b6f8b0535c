from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.report.figures import COLOURS, Estimate, ForestPanel, forest, looks
from eagbench.report.svg import Scale, drawing, nice_ticks, text


@given(low=st.floats(-1e3, 1e3), span=st.floats(1e-3, 1e3), wanted=st.integers(2, 8))
def test_ticks_lie_inside_and_are_few_and_evenly_spaced(low, span, wanted):
    ticks = nice_ticks(low, low + span, wanted)
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    assert 1 <= len(ticks) <= 2 * wanted + 1
    steps = np.diff(ticks)
    assert len(steps) == 0 or np.allclose(steps, steps[0], rtol=1e-3, atol=1e-9)


def test_known_ticks():
    assert nice_ticks(0.48, 0.86, 4) == [0.5, 0.6, 0.7, 0.8]
    assert nice_ticks(0, 1, 4) == [0, 0.25, 0.5, 0.75, 1]


def test_scale_maps_ends_and_a_flat_range():
    scale = Scale(0.5, 1.0, 100, 300)
    assert (scale(0.5), scale(0.75), scale(1.0)) == (100, 200, 300)
    assert Scale(2, 2, 100, 300)(2) == 100


def test_text_in_drawings_is_escaped():
    picture = drawing(10, 10, 'a "title" <b>', [text(1, 2, "<script>&", "label")])
    root = ElementTree.fromstring(picture)  # well-formed
    assert root.get("aria-label") == 'a "title" <b>'
    assert "<script" not in picture


def test_a_dozen_methods_look_different():
    look = looks([f"m{i}" for i in range(12)])
    assert len(set(look.values())) == 12
    assert len({item.colour for item in list(look.values())[: len(COLOURS)]}) == len(COLOURS)


def test_the_forest_draws_points_and_whiskers_to_scale():
    nan = float("nan")
    panel = ForestPanel(
        "AUROC",
        {"a": Estimate(0.6, 0.5, 0.7), "b": Estimate(0.8, 0.7, 0.9), "c": Estimate(nan, nan, nan), "d": None},
    )
    root = ElementTree.fromstring(forest(["a", "b", "c", "d"], looks(["a", "b", "c"]), [panel]))
    whiskers = [(float(e.get("x1")), float(e.get("x2"))) for e in root if e.get("class") == "whisker"]
    assert len(whiskers) == 2
    (a_low, a_high), (b_low, b_high) = whiskers
    assert a_high == pytest.approx(b_low, abs=0.02)
    assert a_high - a_low == pytest.approx(b_high - b_low, abs=0.02)
    assert [e.text for e in root if e.text == "no value"] == ["no value"] * 2
