from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.report.figures.estimates import COLOURS, Curve, CurvePanel, Estimate, ForestPanel, curves, forest, looks
from eagbench.report.figures.svg import Scale, drawing, nice_ticks, text
from eagbench.report.figures.transfer import UNREAD_MARK, MatrixPanel, matrices


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


def corners(d: str) -> list[tuple[float, float]]:
    """The points of a path's `d`."""
    return [tuple(map(float, p.split())) for p in d.strip("MZ").split(" L")]


def test_a_robustness_curve_and_its_band_are_to_scale():
    nan = float("nan")
    estimates = [Estimate(0.8, 0.7, 0.9), Estimate(0.7, 0.6, 0.8), Estimate(0.6, nan, nan)]
    panel = CurvePanel("AUROC", [Curve("a", [0, 0.5, 1.0], estimates)], {"oracle": 0.9}, 0.5, (0.5, 1.0))
    root = ElementTree.fromstring(curves([panel], looks(["a"]), "severity", "share"))
    drawn = {e.get("class"): e for e in root if e.get("class") in ("curve", "band", "reference-line", "baseline")}
    points = corners(drawn["curve"].get("d"))
    steps = np.diff(points, axis=0)
    assert steps[0] == pytest.approx(steps[1], abs=0.02)  # equal steps of severity and of loss
    assert steps[0][0] > 0 < steps[0][1]  # to the right, and down: a loss
    per_tenth = steps[0][1]
    edge = corners(drawn["band"].get("d"))
    assert len(edge) == 2 * 2  # what has no interval has no band
    (x_high, y_high), _, _, (x_low, y_low) = edge
    assert x_high == x_low == points[0][0]
    assert (y_low - y_high) == pytest.approx(2 * per_tenth, abs=0.02)
    assert float(drawn["reference-line"].get("y1")) == pytest.approx(points[0][1] - per_tenth, abs=0.02)
    assert float(drawn["baseline"].get("y1")) == pytest.approx(points[2][1] + per_tenth, abs=0.02)


def test_the_heat_map_has_each_number_in_its_field_and_darker_for_more():
    fields = {("a", "x"): 0.5, ("a", "y"): 0.7, ("b", "x"): 0.9, ("b", "y"): float("nan")}
    panel = MatrixPanel(
        "eag_rl", {k: Estimate(v, v - 0.1, v + 0.1) for k, v in fields.items()}, frozenset({("a", "y")})
    )
    counts = {"x": "100 / 10", "y": "200 / 20"}
    home = frozenset({("a", "x")})
    root = ElementTree.fromstring(matrices([panel], ["a", "b"], ["x", "y"], counts, home, (0.5, 0.9)))
    words = {e.text: (float(e.get("x")), float(e.get("y"))) for e in root if e.get("text-anchor")}
    boxes = [e for e in root if e.get("class") == "field"]
    assert len(boxes) == 3

    def box_of(shown: str) -> ElementTree.Element:
        x, y = words[shown]
        [box] = [
            b
            for b in boxes
            if 0 < x - float(b.get("x")) < float(b.get("width")) and 0 < y - float(b.get("y")) < float(b.get("height"))
        ]
        return box

    columns = {"x": words["100 / 10"][0], "y": words["200 / 20"][0]}
    assert words["0.500"][0] == words["0.900"][0] == columns["x"]
    assert words[f"0.700{UNREAD_MARK}"][0] == columns["y"]  # the only number that says little of the model
    assert words["0.500"][1] == words[f"0.700{UNREAD_MARK}"][1] < words["0.900"][1]  # row a above row b
    assert abs(words["a"][1] - words["0.500"][1]) < 20 > abs(words["b"][1] - words["0.900"][1])
    shades = [int(box_of(v).get("fill")[1:3], 16) for v in ("0.500", f"0.700{UNREAD_MARK}", "0.900")]
    assert shades[0] > shades[1] > shades[2]
    assert shades[1] == pytest.approx((shades[0] + shades[2]) / 2, abs=1)
    frames = [e for e in root if e.get("class") == "frame"]
    left, top = (min(float(e.get(k)) for e in frames) for k in "xy")
    assert len(frames) == 4
    assert (left, top) == pytest.approx([float(box_of("0.500").get(k)) - 1.5 for k in "xy"])
