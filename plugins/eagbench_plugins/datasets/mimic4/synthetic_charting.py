"""What the synthetic hospital measures: values, times and gaps, drawn from the hidden course of each stay.

All numbers are our choices. Levels and spreads loosely follow adult ICU ranges. Values depend on the hidden severities,
and so carry information about the outcome. Sicker patients are measured more often (informative missingness), an
arterial line or a blood gas is itself a sign of illness, and treatment hides part of it by keeping up blood pressure.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from eagbench_plugins.datasets.mimic4.synthetic_course import (
    CARDIOVASCULAR,
    DAY,
    HEPATIC,
    HOUR,
    METABOLIC,
    NEUROLOGICAL,
    RENAL,
    RESPIRATORY,
    Admissions,
    Bools,
    Floats,
    Ints,
    Patients,
    Stays,
    severity,
)
from eagbench_plugins.datasets.mimic4.synthetic_items import (
    CHARTED,
    GCS_EYE_TEXT,
    GCS_MOTOR_TEXT,
    GCS_VERBAL_INTUBATED,
    GCS_VERBAL_TEXT,
    LABS,
    REFILL_ABNORMAL,
    REFILL_NORMAL,
    Item,
)

FLUCTUATION = 0.30  # standard deviation of the hour-to-hour fluctuation of each organ's severity
FLUCTUATION_MEMORY = 0.85  # its autocorrelation over one hour


class Grid:
    """One row per ICU stay and whole hour: who, when, how ill.

    Attributes:
        stay: Row in `Stays`, shape (R,).
        minute: Minutes since 2100, shape (R,).
        state: Severity per organ, fluctuation included, shape (R, 6).
        acuity: Mean severity, shape (R,).
        ventilated: Whether the patient is on a ventilator, shape (R,).
    """

    def __init__(self, rng: np.random.Generator, admissions: Admissions, stays: Stays) -> None:
        first_hour = -(-stays.start // HOUR) * HOUR
        count = np.maximum((stays.end - 1 - first_hour) // HOUR + 1, 0)  # (K,)
        self.stay: Ints = np.repeat(np.arange(len(count)), count)
        hour = np.arange(len(self.stay)) - np.repeat(np.cumsum(count) - count, count)
        self.minute: Ints = first_hour[self.stay] + hour * HOUR
        since_icu = (self.minute - stays.start[self.stay] + stays.offset[self.stay]) / HOUR
        admission = stays.admission[self.stay]
        smooth = severity(admissions.acute[admission], admissions.trend[admission], since_icu)
        self.state: Floats = smooth + _fluctuation(rng, count)[self.stay, hour]
        self.acuity: Floats = self.state.mean(axis=1)
        self.ventilated: Bools = smooth[:, RESPIRATORY] + 0.3 * smooth[:, NEUROLOGICAL] > 0.9


def _fluctuation(rng: np.random.Generator, count: Ints) -> Floats:
    """Draw first-order autoregressive noise per stay and organ. Shape (K, max(count), 6)."""
    noise = rng.normal(size=(len(count), int(count.max()), 6))
    for hour in range(1, noise.shape[1]):
        fresh = np.sqrt(1 - FLUCTUATION_MEMORY**2) * noise[:, hour]
        noise[:, hour] = FLUCTUATION_MEMORY * noise[:, hour - 1] + fresh
    return np.asarray(FLUCTUATION * noise)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _events(
    stay: Ints, minute: Ints, item: Item, values: Floats, text: Mapping[int, str] | None = None
) -> pl.DataFrame:
    """Build the rows of one item: `value` as text, `valuenum` as its number, both as they appear in the CSV file."""
    rounded = np.round(values, item.decimals)
    number = pl.Series("valuenum", rounded.astype(np.int64) if item.decimals == 0 else rounded).cast(pl.String)
    value = number if text is None else pl.Series([text[int(score)] for score in rounded], dtype=pl.String)
    return pl.DataFrame(
        {
            "stay": stay,
            "minute": minute,
            "itemid": np.full(len(stay), item.itemid),
            "value": value,
            "valuenum": number,
            "valueuom": pl.Series([item.unit or None], dtype=pl.String).new_from_index(0, len(stay)),
        }
    )


def chart(
    rng: np.random.Generator, patients: Patients, admissions: Admissions, stays: Stays, grid: Grid
) -> pl.DataFrame:
    """Generate all charted events: stay, minute, itemid, value, valuenum, valueuom."""
    person = admissions.patient[stays.admission]  # (K,)
    parts = [
        *_haemodynamics(rng, patients, person, grid),
        *_respiration(rng, grid),
        *_temperature(rng, grid),
        *_consciousness(rng, grid),
        *_refill_and_fingerstick(rng, patients, person, grid),
        *_body_size(rng, patients, person, stays),
    ]
    return pl.concat(parts)


def _personal(rng: np.random.Generator, grid: Grid, spread: float) -> Floats:
    """Draw a constant for each stay, repeated on its grid rows."""
    return np.asarray(rng.normal(0.0, spread, int(grid.stay.max()) + 1)[grid.stay])


def _some(rng: np.random.Generator, probability: Floats) -> Ints:
    return np.flatnonzero(rng.random(len(probability)) < probability)


def _haemodynamics(rng: np.random.Generator, patients: Patients, person: Ints, grid: Grid) -> list[pl.DataFrame]:
    rows = len(grid.stay)
    cardiac, metabolic = grid.state[:, CARDIOVASCULAR], grid.state[:, METABOLIC]
    age = (patients.age[person][grid.stay] - 64.0) / 16.0
    heart = 86 + 8 * np.tanh(cardiac / 2) * 2 + 4 * metabolic - 2.5 * age + _personal(rng, grid, 9)
    heart = (heart + rng.normal(0, 4, rows)).clip(30, 190)
    # Vasopressors hold the pressure up, so that it falls less and less with severity.
    mean = 80 - 14 * np.tanh(cardiac / 2.2) - 2.5 * metabolic + _personal(rng, grid, 6) + rng.normal(0, 4.5, rows)
    mean = mean.clip(30, 150)
    pulse = (46 + 7 * age + _personal(rng, grid, 7) + rng.normal(0, 5, rows)).clip(12, 110)
    pressures = {"systolic": mean + 0.63 * pulse, "diastolic": mean - 0.37 * pulse, "mean": mean}
    hourly = _some(rng, _sigmoid(1.0 + 0.8 * grid.acuity))
    parts = [_events(grid.stay[hourly], grid.minute[hourly], CHARTED["heart_rate"], heart[hourly])]

    first = np.flatnonzero(np.diff(grid.stay, prepend=-1))  # first row of each stay
    has_line = np.zeros(int(grid.stay.max()) + 1, dtype=bool)
    has_line[grid.stay[first]] = rng.random(len(first)) < _sigmoid(-0.6 + 0.9 * cardiac[first])
    line = has_line[grid.stay]
    in_line = np.flatnonzero(line & (rng.random(rows) < 0.85))
    cuff = np.flatnonzero(rng.random(rows) < np.where(line, 0.10, _sigmoid(0.6 + 0.8 * grid.acuity)))
    for part, pressure in pressures.items():
        noisy = pressure + rng.normal(0, 3, rows)
        parts.append(_events(grid.stay[in_line], grid.minute[in_line], CHARTED[f"arterial_{part}"], pressure[in_line]))
        parts.append(_events(grid.stay[cuff], grid.minute[cuff] + 1, CHARTED[f"cuff_{part}"], noisy[cuff]))
    return parts


def _respiration(rng: np.random.Generator, grid: Grid) -> list[pl.DataFrame]:
    rows = len(grid.stay)
    lungs, metabolic = grid.state[:, RESPIRATORY], grid.state[:, METABOLIC]
    rate = 18.5 + 2.6 * lungs + 1.4 * metabolic + _personal(rng, grid, 2.2) + rng.normal(0, 2.2, rows)
    saturation = 97.2 - 1.3 * np.logaddexp(0, lungs) + _personal(rng, grid, 0.8) + rng.normal(0, 1.0, rows)
    oxygen = np.round((42 + 11 * lungs + _personal(rng, grid, 5)) / 5).clip(6, 20) * 5  # ventilators are set in steps
    hourly = _some(rng, _sigmoid(1.0 + 0.8 * grid.acuity))
    also = _some(rng, _sigmoid(1.0 + 0.8 * grid.acuity))
    on_oxygen = np.flatnonzero((rng.random(rows) < 0.25) & (grid.ventilated | (lungs > 0.3)))
    return [
        _events(grid.stay[hourly], grid.minute[hourly], CHARTED["respiratory_rate"], rate[hourly].clip(5, 55)),
        _events(grid.stay[also], grid.minute[also], CHARTED["oxygen_saturation"], saturation[also].clip(60, 100)),
        _events(grid.stay[on_oxygen], grid.minute[on_oxygen], CHARTED["inspired_oxygen"], oxygen[on_oxygen]),
    ]


def _temperature(rng: np.random.Generator, grid: Grid) -> list[pl.DataFrame]:
    rows = len(grid.stay)
    celsius = 36.8 + 0.28 * grid.state[:, METABOLIC] + _personal(rng, grid, 0.25) + rng.normal(0, 0.25, rows)
    measured = rng.random(rows) < 0.27
    # Some units chart in Celsius; most of MIMIC-IV is in Fahrenheit.
    in_celsius = (rng.random(int(grid.stay.max()) + 1) < 0.12)[grid.stay]
    warm, cold = np.flatnonzero(measured & ~in_celsius), np.flatnonzero(measured & in_celsius)
    fahrenheit = celsius * 1.8 + 32
    return [
        _events(grid.stay[warm], grid.minute[warm], CHARTED["temperature_fahrenheit"], fahrenheit[warm]),
        _events(grid.stay[cold], grid.minute[cold], CHARTED["temperature_celsius"], celsius[cold]),
    ]


def _consciousness(rng: np.random.Generator, grid: Grid) -> list[pl.DataFrame]:
    brain = grid.state[:, NEUROLOGICAL] + _personal(rng, grid, 0.4)
    charted = np.flatnonzero(rng.random(len(grid.stay)) < 0.26)
    stay, minute, depth = grid.stay[charted], grid.minute[charted], brain[charted]
    depth = depth + rng.normal(0, 0.25, len(depth))
    eye = 4 - np.digitize(depth, [0.5, 1.3, 2.1])
    motor = 6 - np.digitize(depth, [0.9, 1.5, 2.0, 2.5, 3.0])
    verbal = 5 - np.digitize(depth, [0.2, 0.9, 1.4, 1.9])
    tube = grid.ventilated[charted]
    talking, silent = np.flatnonzero(~tube), np.flatnonzero(tube)
    ones = np.ones(len(silent))
    return [
        _events(stay, minute, CHARTED["gcs_eye"], eye.astype(float), GCS_EYE_TEXT),
        _events(stay, minute, CHARTED["gcs_motor"], motor.astype(float), GCS_MOTOR_TEXT),
        _events(stay[talking], minute[talking], CHARTED["gcs_verbal"], verbal[talking].astype(float), GCS_VERBAL_TEXT),
        _events(stay[silent], minute[silent], CHARTED["gcs_verbal"], ones, {1: GCS_VERBAL_INTUBATED}),
    ]


def _refill_and_fingerstick(
    rng: np.random.Generator, patients: Patients, person: Ints, grid: Grid
) -> list[pl.DataFrame]:
    rows = len(grid.stay)
    delayed = rng.random(rows) < _sigmoid(-3.2 + 1.1 * grid.state[:, CARDIOVASCULAR])
    parts = []
    for side in ("right", "left"):
        charted = np.flatnonzero(rng.random(rows) < 0.05)
        events = _events(
            grid.stay[charted],
            grid.minute[charted],
            CHARTED[f"capillary_refill_{side}"],
            delayed[charted].astype(float),
            {0: REFILL_NORMAL, 1: REFILL_ABNORMAL},
        )
        parts.append(events.with_columns(valuenum=pl.lit(None, dtype=pl.String)))  # text only, as in MIMIC-IV
    sugar = _glucose(rng, patients, person[grid.stay], grid.state[:, METABOLIC])
    pricked = np.flatnonzero(rng.random(rows) < 0.07 + 0.10 * (patients.chronic[person[grid.stay], METABOLIC] > 0.8))
    parts.append(_events(grid.stay[pricked], grid.minute[pricked] + 20, CHARTED["fingerstick_glucose"], sugar[pricked]))
    return parts


def _glucose(rng: np.random.Generator, patients: Patients, person: Ints, metabolic: Floats) -> Floats:
    diabetic = patients.chronic[person, METABOLIC] > 0.8
    log_sugar = np.log(122) + 0.10 * metabolic + 0.22 * diabetic + rng.normal(0, 0.16, len(person))
    return np.asarray(np.exp(log_sugar).clip(30, 900))


def _body_size(rng: np.random.Generator, patients: Patients, person: Ints, stays: Stays) -> list[pl.DataFrame]:
    """Draw weight and height, once at the start; for some only in pounds or inches, for some never."""
    # Height and weight belong to the patient and are the same in all of his or her stays.
    height = np.where(patients.is_male, 175.0, 162.0) + rng.normal(0, 7, len(patients.age))
    index = 28.0 + rng.normal(0, 5.5, len(patients.age)) - 0.8 * patients.frailty
    weight = (index.clip(16, 55) * (height / 100) ** 2)[person] * rng.normal(1.0, 0.02, len(person))
    height = height[person]
    minute = stays.start + rng.integers(5, 3 * HOUR, len(person))
    draw = rng.random((len(person), 3))
    kilograms = np.flatnonzero(draw[:, 0] < 0.65)
    pounds = np.flatnonzero((draw[:, 0] >= 0.65) & (draw[:, 0] < 0.85))
    inches = np.flatnonzero(draw[:, 1] < 0.55)
    centimetres = np.flatnonzero((draw[:, 1] >= 0.40) & (draw[:, 1] < 0.60))
    long = np.flatnonzero((draw[:, 2] < 0.5) & (stays.end - stays.start > 30 * HOUR))
    daily = weight * rng.normal(1.01, 0.015, len(person))
    return [
        _events(kilograms, minute[kilograms], CHARTED["admission_weight_kg"], weight[kilograms]),
        _events(pounds, minute[pounds], CHARTED["admission_weight_lb"], weight[pounds] / 0.45359237),
        _events(inches, minute[inches], CHARTED["height_inch"], height[inches] / 2.54),
        _events(centimetres, minute[centimetres], CHARTED["height_cm"], height[centimetres]),
        _events(long, stays.start[long] + DAY, CHARTED["daily_weight"], daily[long]),
    ]


def measure(
    rng: np.random.Generator, patients: Patients, admissions: Admissions, stays: Stays, grid: Grid
) -> pl.DataFrame:
    """Generate all laboratory events: admission, specimen, minute, itemid, value, valuenum, valueuom.

    Specimens are drawn on arrival in the hospital (before the ICU) and during ICU stays.
    """
    arrivals = np.flatnonzero(admissions.has_icu)
    admission = np.concatenate([arrivals, stays.admission[grid.stay]])
    minute = np.concatenate([admissions.admit[arrivals] + 10, grid.minute])
    state = np.concatenate([admissions.acute[arrivals], grid.state])
    latest = np.concatenate([admissions.discharge[arrivals], stays.end[grid.stay]]) - 1
    ventilated = np.concatenate([np.zeros(len(arrivals), dtype=bool), grid.ventilated])
    acuity = state.mean(axis=1)
    opening = np.zeros(len(admission), dtype=bool)
    opening[: len(arrivals)] = True
    opening[len(arrivals) :] = np.diff(grid.stay, prepend=-1) > 0  # first hour of an ICU stay

    often = _sigmoid(acuity - 0.5)  # between 0 and 1
    draws_per_day = {
        "chemistry": 1.2 + 2.2 * often,
        "count": 1.0 + 1.5 * often,
        "coagulation": 0.5 + 1.0 * _sigmoid(state[:, HEPATIC] - 0.5),
        "liver": 0.2 + 0.9 * _sigmoid(state[:, HEPATIC] - 0.8),
        "gas": np.where(ventilated, 4.0, 0.2 + 0.8 * _sigmoid(2 * (state[:, RESPIRATORY] - 0.8))),
        "lactate": 0.1 + 2.4 * _sigmoid(1.5 * (state[:, METABOLIC] + state[:, CARDIOVASCULAR] - 1.2)),
        "troponin": 0.03 + 0.7 * _sigmoid(1.5 * (state[:, CARDIOVASCULAR] - 0.9)),
    }
    on_opening = {
        "chemistry": 0.92,
        "count": 0.90,
        "coagulation": 0.70,
        "liver": 0.45,
        "gas": 0.25,
        "lactate": 0.35,
        "troponin": 0.15,
    }
    values = _laboratory_values(rng, patients, admissions.patient[admission], admission, state)
    parts, specimens = [], 0
    for panel, items in LABS.items():
        probability = np.where(opening, on_opening[panel], draws_per_day[panel] / 24.0)
        drawn = _some(rng, probability)
        at = np.minimum(minute[drawn] + rng.integers(0, 55, len(drawn)), latest[drawn])
        for item, left_out in items:
            kept = np.flatnonzero(rng.random(len(drawn)) >= left_out)
            rows = drawn[kept]
            events = _events(admission[rows], at[kept], item, values[item.itemid][rows])
            parts.append(events.rename({"stay": "admission"}).with_columns(specimen=specimens + kept))
        specimens += len(drawn)
    return pl.concat(parts)


def _laboratory_values(
    rng: np.random.Generator, patients: Patients, person: Ints, admission: Ints, state: Floats
) -> dict[int, Floats]:
    """Draw a value of each laboratory item for every possible specimen, by itemid. Shapes (R,)."""
    rows = len(person)
    chronic, frailty = patients.chronic[person], patients.frailty[person]
    heart, lungs, kidney, liver, metabolic, _ = state.T

    def noise(spread: float) -> Floats:
        return np.asarray(rng.normal(0.0, spread, rows))

    def personal(spread: float) -> Floats:
        return np.asarray(rng.normal(0.0, spread, int(admission.max()) + 1)[admission])

    bicarbonate = 24.2 - 1.9 * metabolic - 0.8 * kidney + 0.8 * lungs + personal(1.4) + noise(1.1)
    gap = 13.3 + 1.5 * metabolic + 0.8 * kidney + personal(1.2) + noise(1.2)
    chloride = 103.5 - 0.35 * (gap - 13.3) + personal(3.2) + noise(1.5)
    sodium = gap + chloride + bicarbonate + noise(0.5) - 2.2
    ph = 7.395 - 0.035 * metabolic - 0.022 * lungs + noise(0.025)
    carbon_dioxide = 39.5 + 4.0 * lungs - 2.2 * metabolic + noise(3.5)
    oxygen = np.exp(np.log(112) - 0.16 * lungs + noise(0.28))
    hemoglobin = 11.0 - 0.85 * frailty - 0.35 * chronic[:, RENAL] + personal(1.1) + noise(0.35)
    clotting = np.exp(0.18 + 0.13 * liver + personal(0.10) + noise(0.04))
    enzymes = 3.35 + 0.55 * liver + 0.12 * heart + personal(0.45)
    creatinine = np.exp(
        -0.02 + 0.36 * kidney + 0.40 * np.maximum(chronic[:, RENAL], -0.5) + personal(0.12) + noise(0.06)
    )
    urea = np.exp(2.98 + 0.30 * kidney + 0.20 * chronic[:, RENAL] + 0.12 * frailty + personal(0.18) + noise(0.07))
    return {
        50983: sodium.clip(105, 175),
        50971: (4.1 + 0.20 * kidney + 0.05 * metabolic + personal(0.25) + noise(0.28)).clip(2.0, 8.5),
        50902: chloride.clip(70, 140),
        50882: bicarbonate.clip(4, 48),
        50868: gap.clip(3, 45),
        51006: urea.clip(3, 200),
        50912: creatinine.clip(0.2, 18),
        50931: _glucose(rng, patients, person, metabolic),
        50893: (8.4 - 0.12 * kidney - 0.10 * frailty + personal(0.4) + noise(0.3)).clip(5, 13),
        50960: (2.05 + 0.06 * kidney + personal(0.15) + noise(0.2)).clip(0.8, 5),
        50970: np.exp(1.18 + 0.11 * kidney + 0.05 * metabolic + noise(0.2)).clip(0.6, 14),
        51222: hemoglobin.clip(4.5, 18),
        51221: (hemoglobin * 3.0 + noise(0.8)).clip(13, 56),
        51301: np.exp(2.30 + 0.17 * metabolic + personal(0.28) + noise(0.10)).clip(0.3, 90),
        51265: np.exp(5.25 - 0.16 * liver - 0.08 * metabolic + personal(0.30) + noise(0.06)).clip(6, 1100),
        51237: clotting.clip(0.8, 14),
        51274: (clotting * 11.6 + noise(0.4)).clip(9, 150),
        51275: np.exp(3.45 + 0.09 * liver + personal(0.18) + noise(0.10)).clip(18, 150),
        50861: np.exp(enzymes + noise(0.2)).clip(4, 12000),
        50878: np.exp(enzymes + 0.25 + noise(0.2)).clip(6, 15000),
        50863: np.exp(4.45 + 0.18 * liver + personal(0.35) + noise(0.1)).clip(15, 2500),
        50885: np.exp(-0.30 + 0.48 * liver + personal(0.35) + noise(0.12)).clip(0.1, 50),
        50862: (3.15 - 0.18 * liver - 0.12 * metabolic - 0.22 * frailty + personal(0.25) + noise(0.12)).clip(1.0, 5.2),
        50820: ph.clip(6.8, 7.75),
        50821: oxygen.clip(25, 500),
        50818: carbon_dioxide.clip(12, 130),
        50802: (0.9 * (bicarbonate - 24.2) + noise(1.2)).clip(-28, 22),
        50817: (97.0 - 1.6 * np.logaddexp(0, lungs) + noise(1.2)).clip(40, 100),
        50808: (1.14 - 0.02 * metabolic + noise(0.06)).clip(0.6, 1.7),
        50813: np.exp(0.42 + 0.30 * metabolic + 0.20 * heart + personal(0.2) + noise(0.15)).clip(0.4, 25),
        51003: np.exp(-3.2 + 0.75 * heart + 0.25 * chronic[:, RENAL] + personal(0.8) + noise(0.2)).clip(0.01, 25),
    }
