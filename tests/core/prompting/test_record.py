"""The record as text, on a case small enough to write its text down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.api import (
    STYLES,
    Case,
    Cases,
    Distractor,
    Feature,
    RecordText,
    RecordTextParams,
    Rendering,
    Task,
    prompt_text,
    prompt_with_spans,
)

TASK = Task("in_hospital_mortality", "die before leaving the hospital", "an intensive care physician", 48.0)
FEATURES = (
    Feature("heart_rate", "Heart rate", "bpm", (0, 300), (60, 100), ("pulse",)),
    Feature("lactate", "Lactate", "mmol/L", (0, 50), (None, 2)),
    Feature("ph", "pH", "1", (6, 8), (7.35, 7.45)),
    Feature("fio2", "Inspired oxygen", "%", (0, 100)),
)
NAN = float("nan")


def case(
    values: list[list[float]],
    times: list[float],
    features: tuple[str, ...] = ("heart_rate", "lactate", "ph", "fio2"),
    age: float = 65.0,
    sex: float = 1.0,
) -> Case:
    array = np.array(values, dtype=np.float32).reshape(len(times), len(features))
    return Case("c", "p", features, np.array(times, dtype=float), array, {"age": age, "sex": sex})


def cohort(*items: Case) -> Cases:
    return Cases(FEATURES, ("age", "sex"), TASK, items)


CASE = case([[55, 1.25, NAN, NAN], [120, NAN, 7.4, NAN], [80, 3.5, NAN, NAN]], [0.5, 20, 30])


def test_raw_record_has_sex_and_age_first_then_a_line_per_feature() -> None:
    assert RecordText(RecordTextParams()).render(CASE, cohort(CASE)).splitlines() == [
        "Sex: male",
        "Age: 65 years",
        "Hours since the start of observation (the first 48 hours are shown): 0.5, 20, 30",
        "heart_rate (bpm; reference 60 to 100): 55, 120, 80",
        "lactate (mmol/L; reference at most 2): 1.25, NaN, 3.5",
        "ph (reference 7.35 to 7.45): NaN, 7.4, NaN",
        "fio2 (%): NaN, NaN, NaN",
    ]


@pytest.mark.parametrize("values", ["raw", "flagged", "compact", "quantile"])
@pytest.mark.parametrize("instructions", ["full", "short"])
@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_each_features_text_is_found_in_the_prompt(values, instructions, style) -> None:
    text = RecordText(RecordTextParams(values=values, instructions=instructions)).fit(cohort(CASE))
    prompt, spans = prompt_with_spans(style, CASE, cohort(CASE), text)
    assert prompt == prompt_text(style, CASE, cohort(CASE), text)
    assert {name: prompt[start:end] for name, (start, end) in spans.items()} == text.feature_texts(CASE, cohort(CASE))
    assert list(spans) == [name for name in CASE.features if values in ("raw", "flagged") or name != "fio2"]


def test_a_value_at_its_limit_is_normal() -> None:
    """Records hold float32: 7.35 is 7.3499999 there."""
    at_limits = case([[60, 2, 7.35, NAN], [100, 2, 7.45, NAN], [59, 2.1, 7.34, NAN], [101, 2, 7.46, NAN]], [1, 2, 3, 4])
    text = RecordText(RecordTextParams(values="flagged", units=False, reference_ranges=False)).render(
        at_limits, cohort(at_limits)
    )
    assert "heart_rate: 60 N, 100 N, 59 L, 101 H" in text
    assert "lactate: 2 N, 2 N, 2.1 H, 2 N" in text
    assert "ph: 7.35 N, 7.45 N, 7.34 L, 7.46 H" in text


def test_flagged_values_stand_against_the_reference_range() -> None:
    params = RecordTextParams(values="flagged", units=False, reference_ranges=False)
    assert RecordText(params).render(CASE, cohort(CASE)).splitlines()[3:] == [
        "heart_rate: 55 L, 120 H, 80 N",
        "lactate: 1.25 N, NaN, 3.5 H",
        "ph: NaN, 7.4 N, NaN",
        "fio2: NaN, NaN, NaN",
    ]


def test_periods_show_the_last_value_of_each() -> None:
    lines = RecordText(RecordTextParams(periods=2)).render(CASE, cohort(CASE)).splitlines()
    assert lines[2].endswith("(the last value in each part is shown): 0 to 24, 24 to 48")
    assert lines[3].endswith(": 120, 80")
    assert lines[4].endswith(": 1.25, 3.5")


def test_record_follows_the_order_of_the_case() -> None:
    turned = case([[NAN, 7.4, 2.0, 55]], [1.0], ("fio2", "ph", "lactate", "heart_rate"))
    names = [line.split(" ")[0] for line in RecordText(RecordTextParams()).render(turned, cohort(CASE)).splitlines()]
    assert names[3:] == ["fio2", "ph", "lactate", "heart_rate"]
    fitted = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(cohort(turned, CASE))
    units = fitted.render(turned, cohort(turned)).split()
    assert [unit.split("=")[0] for unit in units] == ["sex", "age", "ph", "lactate", "heart_rate"]


def test_unknown_sex_and_age_and_no_measurement_are_written_as_such() -> None:
    empty = case([], [], age=NAN, sex=NAN)
    lines = RecordText(RecordTextParams()).render(empty, cohort(empty)).splitlines()
    assert lines[:2] == ["Sex: unknown", "Age: unknown"]
    assert lines[2].endswith(": none")
    assert lines[3].endswith(": NaN")
    short = RecordText(RecordTextParams(values="quantile", instructions="short")).fit(cohort(CASE))
    assert short.render(empty, cohort(empty)) == "sex=unknown age=unknown"


def test_numbers_keep_four_significant_digits_and_no_exponent() -> None:
    odd = case([[0.1, 123456.0, 0.000012345, 1000.0]], [1.0])
    lines = RecordText(RecordTextParams(units=False, reference_ranges=False)).render(odd, cohort(odd)).splitlines()
    assert [line.split(": ")[1] for line in lines[3:]] == ["0.1", "123500", "0.00001234", "1000"]


def test_quantile_bins_are_those_of_numpy_on_the_training_values() -> None:
    rng = np.random.default_rng(0)
    training = cohort(*(case([[v, NAN, NAN, NAN]], [1.0]) for v in rng.normal(80, 10, 200)))
    values = np.array([c.values[0, 0] for c in training], dtype=float)
    edges = np.quantile(values, np.arange(1, 10) / 10)
    text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(training)
    for shown in (-5.0, 500.0, *values):
        (unit,) = text.feature_texts(case([[shown, NAN, NAN, NAN]], [1.0]), training).values()
        assert unit == f"heart_rate=q{np.searchsorted(edges, np.float32(shown), side='right')}"


def test_quantile_units_hold_name_period_and_bin_without_white_space() -> None:
    fitted = RecordText(RecordTextParams(values="quantile", periods=2, bins=4, instructions="short")).fit(cohort(CASE))
    texts = fitted.feature_texts(CASE, cohort(CASE))
    assert list(texts) == ["heart_rate", "lactate", "ph"]  # fio2 was never measured
    assert texts["heart_rate"].split(" ") == ["heart_rate@24h=q3", "heart_rate@48h=q0"]
    assert fitted.render(CASE, cohort(CASE)) == "sex=male age=q3 " + " ".join(texts.values())


def test_a_feature_without_training_values_is_left_out_of_the_quantile_form() -> None:
    fitted = RecordText(RecordTextParams(values="quantile", periods=1)).fit(cohort(case([[70, 1, NAN, NAN]], [1.0])))
    assert "ph" not in fitted.feature_texts(CASE, cohort(CASE))


@pytest.mark.parametrize("values", ["raw", "flagged", "quantile"])
def test_a_saved_record_text_writes_the_same(tmp_path: Path, values: str) -> None:
    fitted = RecordText(RecordTextParams.model_validate({"values": values, "periods": 3})).fit(cohort(CASE))
    fitted.save(tmp_path)
    assert RecordText.load(tmp_path).render(CASE, cohort(CASE)) == fitted.render(CASE, cohort(CASE))
    assert set(json.loads((tmp_path / "record_text.json").read_text())) == {"params", "edges"}


@given(st.lists(st.floats(-1e5, 1e5, width=32), min_size=2, max_size=60), st.integers(2, 12))
def test_bins_rise_with_the_value(values: list[float], bins: int) -> None:
    training = cohort(*(case([[v, NAN, NAN, NAN]], [1.0]) for v in values))
    fitted = RecordText(RecordTextParams(values="quantile", periods=1, bins=bins)).fit(training)
    ordered = sorted(values)
    shown = [fitted.feature_texts(case([[v, NAN, NAN, NAN]], [1.0]), training)["heart_rate"] for v in ordered]
    numbers = [int(text.rsplit("q", 1)[1]) for text in shown]
    assert numbers == sorted(numbers)
    assert numbers[0] >= 0
    assert numbers[-1] == bins - 1


def test_a_record_may_write_a_feature_in_its_own_way_and_hold_further_lines() -> None:
    vitamin = Feature("vitamin_d", "Vitamin D", "nmol/L", (0, 500), (50, 125))
    values = np.array([NAN, 60.0, NAN], dtype=np.float32)
    changed = replace(
        CASE,
        renderings={
            "heart_rate": Rendering("pulse", "Hz", factor=1 / 60),
            "lactate": Rendering("lactate", "x", 2.0, 1.0),
        },
        distractors=(Distractor(vitamin, values, before=2), Distractor(vitamin, values, before=4)),
    )
    assert RecordText(RecordTextParams(values="flagged")).render(changed, cohort(CASE)).splitlines()[3:] == [
        "pulse (Hz; reference 1 to 1.667): 0.9167 L, 2 H, 1.333 N",
        "lactate (x; reference at most 5): 3.5 N, NaN, 8 H",
        "vitamin_d (nmol/L; reference 50 to 125): NaN, 60 N, NaN",
        "ph (reference 7.35 to 7.45): NaN, 7.4 N, NaN",
        "fio2 (%): NaN, NaN, NaN",
        "vitamin_d (nmol/L; reference 50 to 125): NaN, 60 N, NaN",
    ]
    bins = RecordText(RecordTextParams(values="quantile", periods=1, bins=2, instructions="short")).fit(cohort(CASE))
    assert bins.render(changed, cohort(CASE)) == "sex=male age=q1 pulse=q1 lactate=q1 vitamin_d=60 ph=q1 vitamin_d=60"
    assert list(bins.feature_texts(changed, cohort(CASE))) == ["heart_rate", "lactate", "ph"]


def test_statistics_of_a_period_have_bins_of_their_own() -> None:
    others = [case([[10 * i, 1.0, NAN, NAN], [100 + i, NAN, NAN, NAN]], [1.0, 2.0]) for i in range(1, 5)]
    params = RecordTextParams(
        values="quantile", periods=1, bins=4, instructions="short", shows=("lowest", "highest", "last")
    )
    fitted = RecordText(params).fit(cohort(*others))
    # Among 10, 20, 30 and 40 the 25 is in the third quarter, and 101 in the first one of 101 to 104.
    shown = case([[101, 1.0, NAN, NAN], [25, NAN, NAN, NAN]], [1.0, 2.0])
    text, spans = fitted.render_with_spans(shown, cohort(shown))
    unit = "heart_rate/lowest=q2 heart_rate/highest=q0 heart_rate=q0"
    assert text.startswith(f"sex=male age=q3 {unit} lactate/lowest=q3")
    assert text[slice(*spans["heart_rate"])] == unit


def test_statistics_are_named_by_period_and_by_the_name_in_the_record() -> None:
    params = RecordTextParams(values="quantile", periods=2, bins=2, instructions="short", shows=("mean", "count"))
    renamed = replace(CASE, renderings={"heart_rate": Rendering("Pulse", "bpm")})
    fitted = RecordText(params).fit(cohort(CASE))
    assert fitted.feature_texts(renamed, cohort(CASE))["heart_rate"] == (
        "Pulse@24h/mean=q1 Pulse@24h/count=q1 Pulse@48h/mean=q0 Pulse@48h/count=q0"
    )


def test_a_line_that_is_no_feature_gives_its_numbers() -> None:
    params = RecordTextParams(values="quantile", periods=1, instructions="short", shows=("lowest", "count"))
    further = Distractor(Feature("foot_size", "Foot size", "cm", (0, 100)), np.array([41.0, 43.0, NAN], np.float32), 0)
    shown = replace(CASE, distractors=(further,))
    text = RecordText(params).fit(cohort(CASE)).render(shown, cohort(CASE))
    assert "foot_size/lowest=41 foot_size/count=2 heart_rate/lowest" in text


def test_the_legend_says_what_a_statistic_is_of() -> None:
    def legend(**params: object) -> str:
        given = RecordTextParams.model_validate({"values": "quantile", **params})
        return RecordText(given).fit(cohort(CASE)).render(CASE, cohort(CASE)).splitlines()[0]

    assert "/lowest, /highest: of the first 48 hours. " in legend(periods=1, shows=["lowest", "highest"])
    assert "/mean: of the period that ends at @, in hours, without / the last value. " in legend(
        periods=2, shows=["last", "mean"]
    )


@pytest.mark.parametrize(
    "params",
    [
        {"values": "raw", "periods": 2, "shows": ["lowest"]},
        {"values": "quantile", "shows": ["lowest"]},
        {"values": "quantile", "periods": 1, "shows": ["lowest", "lowest"]},
        {"values": "quantile", "periods": 1, "shows": []},
    ],
)
def test_statistics_that_have_no_part_to_be_of_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="shows"):
        RecordTextParams.model_validate(params)
