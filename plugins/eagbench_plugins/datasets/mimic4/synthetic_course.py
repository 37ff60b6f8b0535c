"""Who the synthetic patients are, how ill they become, and what happens to them.

Everything here is SYNTHETIC. Each number is our choice and loosely follows what is published about MIMIC-IV (age,
length of stay, mortality, readmission). None is estimated from its records.

The model. A patient has a frailty and a chronic burden in each of six organ systems. An ICU admission adds an acute
severity per organ, which shares a common factor over organs, and a response to treatment, which bends its course over
the first four days. Death in hospital and readmission are drawn from probabilities that depend on this hidden state, on
age, on products of organs, and on something that nothing measures. The length of the ICU stay depends on the hidden
state alone: given that state it is independent of the outcome. So the probability stays the true one for everyone still
in the unit at a prediction time, whatever the benchmark's window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_Columns = dict[str, npt.NDArray[np.generic]]

ORGANS = ("cardiovascular", "respiratory", "renal", "hepatic", "metabolic", "neurological")
CARDIOVASCULAR, RESPIRATORY, RENAL, HEPATIC, METABOLIC, NEUROLOGICAL = range(6)

HOUR = 60  # times are whole minutes since 2100-01-01 00:00
DAY = 24 * HOUR
MAX_ADMISSIONS = 5

IN_HOSPITAL_MORTALITY = 0.12  # of admissions with an ICU stay
READMISSION_OR_DEATH = 0.22  # within 30 days, of those discharged alive
COMMON_LOADING = 0.55  # share of acute severity that all organs have in common
SPECIFIC_LOADING = 0.75
CHRONIC_LOADING = 0.40

# Weight of each organ's state at 36 hours in the log odds of death, and of what comes on top.
MORTALITY_ORGAN_WEIGHTS = np.array([0.32, 0.36, 0.27, 0.18, 0.32, 0.40])
MORTALITY_AGE_WEIGHT = 0.35  # per standard deviation
MORTALITY_FRAILTY_WEIGHT = 0.20
MORTALITY_SHOCK_KIDNEY_WEIGHT = 0.25  # product of the positive parts: cardiovascular x renal
MORTALITY_LUNG_ACIDOSIS_WEIGHT = 0.25  # respiratory x metabolic
MORTALITY_COMA_AGE_WEIGHT = 0.25  # neurological x age
MORTALITY_UNMEASURED_WEIGHT = 0.45

READMISSION_FRAILTY_WEIGHT = 0.70
READMISSION_CHRONIC_WEIGHTS = np.array([0.30, 0.25, 0.40, 0.15, 0.20, 0.05])
READMISSION_RESIDUAL_WEIGHT = 0.45  # mean positive severity when leaving the last ICU stay
READMISSION_AGE_WEIGHT = 0.20
READMISSION_UNMEASURED_WEIGHT = 0.50


@dataclass(frozen=True, slots=True)
class Patients:
    """N patients.

    Attributes:
        subject_id: Unique, shape (N,).
        is_male: Shape (N,).
        age: Age in the anchor year, shape (N,).
        anchor_year: Shifted year of the first admission, shape (N,).
        frailty: Standard normal, shape (N,).
        chronic: Chronic burden per organ, shape (N, 6).
        died_minute: When the patient died, -1 if not known to have died, shape (N,).
    """

    subject_id: Ints
    is_male: Bools
    age: Ints
    anchor_year: Ints
    frailty: Floats
    chronic: Floats
    died_minute: Ints


@dataclass(frozen=True, slots=True)
class Admissions:
    """M hospital admissions, in order of patient and time.

    Attributes:
        patient: Row in `Patients`, shape (M,).
        hadm_id: Unique, shape (M,).
        admit, discharge: Minutes, shape (M,).
        has_icu: Whether there is an ICU stay, shape (M,).
        died: Death in hospital (at the minute of discharge), shape (M,).
        in_icu_died: Death in the ICU, shape (M,).
        hospice: Discharged to a hospice, shape (M,).
        acute: Severity per organ at ICU admission, shape (M, 6).
        trend: Change of severity per day over the first four days, shape (M, 6).
        death_probability, readmission_probability: The true probabilities, shape (M,).
    """

    patient: Ints
    hadm_id: Ints
    admit: Ints
    discharge: Ints
    has_icu: Bools
    died: Bools
    in_icu_died: Bools
    hospice: Bools
    acute: Floats
    trend: Floats
    death_probability: Floats
    readmission_probability: Floats


@dataclass(frozen=True, slots=True)
class Stays:
    """K ICU stays, in order of admission and time.

    Attributes:
        admission: Row in `Admissions`, shape (K,).
        stay_id: Unique, shape (K,).
        start, end: Minutes, shape (K,).
        offset: Minutes since the start of the admission's first ICU stay, shape (K,).
    """

    admission: Ints
    stay_id: Ints
    start: Ints
    end: Ints
    offset: Ints


def severity(acute: Floats, trend: Floats, hours: Floats) -> Floats:
    """Compute the smooth course of severity: a trend that flattens over four days.

    Args:
        acute: Severity at ICU admission, shape (R, 6).
        trend: Change per day, shape (R, 6).
        hours: Hours since ICU admission, shape (R,).

    Returns:
        Shape (R, 6).
    """
    days = 2.0 * (1.0 - np.exp(-hours / 48.0))  # about the day count at first, two in the end
    return np.asarray(acute + trend * days[:, None])


def _calibrated(log_odds: Floats, mean: float) -> Floats:
    """Compute probabilities with the given mean, finding the intercept by bisection."""
    low, high = -15.0, 15.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if float(np.mean(_sigmoid(log_odds + middle))) < mean:
            low = middle
        else:
            high = middle
    return _sigmoid(log_odds + low)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _positive(x: Floats) -> Floats:
    return np.maximum(x, 0.0)


def _unique_ids(rng: np.random.Generator, low: int, count: int) -> Ints:
    """Draw distinct eight-digit identifiers in random order, starting with MIMIC-IV's digit for their kind."""
    return np.asarray(low + rng.choice(9_999_999, size=count, replace=False), dtype=np.int64)


def _draw_patients(rng: np.random.Generator, count: int) -> Patients:
    true_age = np.clip(rng.normal(64.0, 16.0, count), 18.0, 100.0)
    frailty = 0.35 * (true_age - 64.0) / 16.0 + np.sqrt(1 - 0.35**2) * rng.normal(size=count)
    chronic = 0.5 * frailty[:, None] + np.sqrt(1 - 0.5**2) * rng.normal(size=(count, 6))
    age = true_age.astype(np.int64)
    return Patients(
        subject_id=np.sort(_unique_ids(rng, 10_000_000, count)),
        is_male=rng.random(count) < 0.56,
        age=np.where(age > 89, 91, age),  # as MIMIC-IV does
        anchor_year=rng.integers(2110, 2201, count),
        frailty=frailty,
        chronic=chronic,
        died_minute=np.full(count, -1, dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class _Admitted:
    """The patients of one round: the n-th admission of everyone who has one.

    Attributes:
        number: 0 in the round of first admissions.
        patient: Row in `Patients`, shape (n,).
        admit: Minute of admission, shape (n,).
        age_score: Age in the anchor year, standardised, shape (n,).
        frailty: Shape (n,).
        chronic: Chronic burden per organ, shape (n, 6).
    """

    number: int
    patient: Ints
    admit: Ints
    age_score: Floats
    frailty: Floats
    chronic: Floats


@dataclass(frozen=True, slots=True)
class _Illness:
    """How ill the admitted patients are.

    Attributes:
        common: Part of the severity that all organs share, shape (n,).
        response: Response to treatment; negative is good, shape (n,).
        acute: Severity per organ at ICU admission, shape (n, 6).
        trend: Change of severity per day over the first four days, shape (n, 6).
        has_icu: Whether there is an ICU stay, shape (n,).
    """

    common: Floats
    response: Floats
    acute: Floats
    trend: Floats
    has_icu: Bools


@dataclass(frozen=True, slots=True)
class _TimeInHospital:
    """When the admitted patients are where, in minutes.

    Attributes:
        icu_start: Start of the first ICU stay, shape (n,).
        first_icu, second_icu: Length of the ICU stays; 0 where there is no second one, shape (n,).
        second_start: Start of the second ICU stay, -1 where there is none, shape (n,).
        icu_end: End of the last ICU stay, shape (n,).
        discharge: Discharge from hospital or death in it, shape (n,).
        in_icu_died: Death in the ICU, shape (n,).
    """

    icu_start: Ints
    first_icu: Ints
    second_icu: Ints
    second_start: Ints
    icu_end: Ints
    discharge: Ints
    in_icu_died: Bools


@dataclass(frozen=True, slots=True)
class _Afterwards:
    """What happens to the admitted patients after discharge.

    Attributes:
        readmission_probability: True probability of readmission or death within 30 days, shape (n,).
        hospice: Discharged to a hospice, shape (n,).
        comes_back_soon: Readmitted within 30 days, shape (n,).
        comes_back_late: Readmitted after more than 30 days, shape (n,).
        known_dead: Known to have died, in hospital or within a year of discharge, shape (n,).
        died_minute: When a patient known to be dead died; meaningless for the others, shape (n,).
    """

    readmission_probability: Floats
    hospice: Bools
    comes_back_soon: Bools
    comes_back_late: Bools
    known_dead: Bools
    died_minute: Ints


def _draw_illness(rng: np.random.Generator, admitted: _Admitted) -> _Illness:
    n = len(admitted.patient)
    common, response = rng.normal(size=n), rng.normal(size=n)
    acute = (
        COMMON_LOADING * common[:, None]
        + SPECIFIC_LOADING * rng.normal(size=(n, 6))
        + CHRONIC_LOADING * admitted.chronic
    )
    trend = -0.20 + 0.28 * response[:, None] + 0.22 * rng.normal(size=(n, 6))
    has_icu = np.ones(n, dtype=bool) if admitted.number == 0 else rng.random(n) < 0.7
    return _Illness(common, response, acute, trend, has_icu)


def _death_log_odds(rng: np.random.Generator, admitted: _Admitted, illness: _Illness) -> Floats:
    state = severity(illness.acute, illness.trend, np.full(len(illness.acute), 36.0))  # (n, 6)
    age = admitted.age_score
    return np.asarray(
        state @ MORTALITY_ORGAN_WEIGHTS
        + MORTALITY_AGE_WEIGHT * age
        + MORTALITY_FRAILTY_WEIGHT * admitted.frailty
        + MORTALITY_SHOCK_KIDNEY_WEIGHT * _positive(state[:, CARDIOVASCULAR]) * _positive(state[:, RENAL])
        + MORTALITY_LUNG_ACIDOSIS_WEIGHT * _positive(state[:, RESPIRATORY]) * _positive(state[:, METABOLIC])
        + MORTALITY_COMA_AGE_WEIGHT * _positive(state[:, NEUROLOGICAL]) * _positive(age)
        + MORTALITY_UNMEASURED_WEIGHT * rng.normal(size=len(illness.acute))
    )


def _death_probability(rng: np.random.Generator, admitted: _Admitted, illness: _Illness) -> Floats:
    """Return the true probability of death in hospital, shape (n,); without an ICU stay it is small."""
    log_odds = _death_log_odds(rng, admitted, illness)
    death = np.where(illness.has_icu, 0.0, 0.02)
    if illness.has_icu.any():
        death[illness.has_icu] = _calibrated(log_odds[illness.has_icu], IN_HOSPITAL_MORTALITY)
    return death


def _draw_time_in_hospital(
    rng: np.random.Generator, admitted: _Admitted, illness: _Illness, died: Bools
) -> _TimeInHospital:
    """Draw the times; medians: 5 h before the ICU, 68 h in it, 3 days after it."""
    n, admit, has_icu, common = len(admitted.patient), admitted.admit, illness.has_icu, illness.common
    before = np.exp(rng.normal(np.log(5 * HOUR), 1.0, n)).clip(15, 5 * DAY).astype(np.int64)
    first_icu = _icu_minutes(rng, np.log(68.0) + 0.22 * common + 0.12 * illness.response, 0.60)
    has_second = has_icu & (rng.random(n) < 0.08)
    gap = rng.integers(10 * HOUR, 4 * DAY, n)
    second_icu = np.where(has_second, _icu_minutes(rng, np.log(40.0) + 0.2 * common, 0.5), 0)
    icu_end = admit + before + first_icu + np.where(has_second, gap + second_icu, 0)
    ward = np.exp(rng.normal(np.log(3 * DAY), 0.7, n)).clip(6 * HOUR, 40 * DAY).astype(np.int64)
    in_icu_died = has_icu & died & (rng.random(n) < 0.75)
    return _TimeInHospital(
        icu_start=admit + before,
        first_icu=first_icu,
        second_icu=second_icu,
        second_start=np.where(has_second, admit + before + first_icu + gap, -1),
        icu_end=icu_end,
        discharge=np.where(has_icu, np.where(in_icu_died, icu_end, icu_end + ward), admit + before + ward),
        in_icu_died=in_icu_died,
    )


def _draw_afterwards(
    rng: np.random.Generator, admitted: _Admitted, illness: _Illness, times: _TimeInHospital, died: Bools
) -> _Afterwards:
    n = len(admitted.patient)
    hours_at_end = (times.icu_end - times.icu_start) / HOUR
    residual = _positive(severity(illness.acute, illness.trend, hours_at_end)).mean(axis=1) * illness.has_icu
    readmission = _calibrated(
        READMISSION_FRAILTY_WEIGHT * admitted.frailty
        + admitted.chronic @ READMISSION_CHRONIC_WEIGHTS
        + READMISSION_RESIDUAL_WEIGHT * residual
        + READMISSION_AGE_WEIGHT * admitted.age_score
        + READMISSION_UNMEASURED_WEIGHT * rng.normal(size=n),
        READMISSION_OR_DEATH,
    )
    hospice = ~died & (rng.random(n) < _sigmoid(-4.6 + 0.8 * admitted.frailty + 0.6 * residual))
    event = ~died & (rng.random(n) < readmission)
    last_round = admitted.number == MAX_ADMISSIONS - 1
    dies_at_home = event & ((rng.random(n) < 0.25) | hospice | last_round)
    later = ~died & ~event & ~hospice
    comes_back_late = later & (rng.random(n) < 0.25) & (not last_round)
    dies_late = ~died & ~event & ~comes_back_late & (rng.random(n) < np.where(hospice, 0.8, 0.06))
    until_death = np.where(dies_at_home, rng.integers(1, 29, n), rng.integers(33, 360, n)) * DAY
    return _Afterwards(
        readmission_probability=readmission,
        hospice=hospice,
        comes_back_soon=event & ~dies_at_home,
        comes_back_late=comes_back_late,
        known_dead=died | dies_at_home | dies_late,
        died_minute=np.where(died, times.discharge, times.discharge + until_death),
    )


def simulate(patients: int, seed: int) -> tuple[Patients, Admissions, Stays]:
    """Draw patients, their admissions and ICU stays.

    Admissions are drawn in rounds: the n-th admission of all patients who have one at once.

    Args:
        patients: Number of patients, each with at least one ICU stay.
        seed: Seed; the same seed gives the same hospital.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    people = _draw_patients(rng, patients)
    age_score = np.asarray((people.age - 64.0) / 16.0, dtype=np.float64)
    who = np.arange(patients)
    admit = _minute_of_year(people.anchor_year) + rng.integers(0, 365 * DAY, patients)
    rounds: list[_Columns] = []
    for number in range(MAX_ADMISSIONS):
        admitted = _Admitted(number, who, admit, age_score[who], people.frailty[who], people.chronic[who])
        illness = _draw_illness(rng, admitted)
        death = _death_probability(rng, admitted, illness)
        died = rng.random(len(who)) < death
        times = _draw_time_in_hospital(rng, admitted, illness, died)
        after = _draw_afterwards(rng, admitted, illness, times, died)
        people.died_minute[who[after.known_dead]] = after.died_minute[after.known_dead]
        rounds.append(
            {
                "patient": who,
                "admit": admit,
                "discharge": times.discharge,
                "has_icu": illness.has_icu,
                "died": died,
                "in_icu_died": times.in_icu_died,
                "hospice": after.hospice,
                "acute": illness.acute,
                "trend": illness.trend,
                "death_probability": death,
                "readmission_probability": after.readmission_probability,
                "icu_start": times.icu_start,
                "first_icu": times.first_icu,
                "second_start": times.second_start,
                "second_icu": times.second_icu,
            }
        )
        soon, back = after.comes_back_soon, after.comes_back_soon | after.comes_back_late
        if not back.any():
            break
        n = len(who)
        until_return = np.where(soon, rng.integers(DAY, 29 * DAY, n), rng.integers(33 * DAY, 700 * DAY, n))
        who, admit = who[back], (times.discharge + until_return)[back]
    drawn = _in_order(rounds)
    return people, _admissions(rng, drawn), _stays(rng, drawn)


def _icu_minutes(rng: np.random.Generator, log_hours: Floats, spread: float) -> Ints:
    hours = np.exp(rng.normal(log_hours, spread)).clip(8.0, 14 * 24.0)
    return np.asarray((hours * HOUR).astype(np.int64))


def _in_order(rounds: Sequence[_Columns]) -> _Columns:
    """Return the admissions of all rounds, in order of patient and time."""
    drawn = {name: np.concatenate([part[name] for part in rounds]) for name in rounds[0]}
    order = np.lexsort((drawn["admit"], drawn["patient"]))
    return {name: values[order] for name, values in drawn.items()}


def _admissions(rng: np.random.Generator, drawn: _Columns) -> Admissions:
    return Admissions(
        hadm_id=_unique_ids(rng, 20_000_000, len(drawn["patient"])),
        **{name: drawn[name] for name in Admissions.__dataclass_fields__ if name != "hadm_id"},  # type: ignore[arg-type]
    )


def _stays(rng: np.random.Generator, drawn: _Columns) -> Stays:
    first = np.flatnonzero(drawn["has_icu"])
    second = np.flatnonzero(drawn["second_start"].astype(np.int64) >= 0)

    def value(name: str) -> Ints:
        return drawn[name].astype(np.int64)

    admission = np.concatenate([first, second])
    start = np.concatenate([value("icu_start")[first], value("second_start")[second]])
    length = np.concatenate([value("first_icu")[first], value("second_icu")[second]])
    order = np.lexsort((start, admission))
    admission, start, length = admission[order], start[order], length[order]
    return Stays(
        admission=admission,
        stay_id=_unique_ids(rng, 30_000_000, len(order)),
        start=start,
        end=start + length,
        offset=start - value("icu_start")[admission],
    )


def _minute_of_year(year: Ints) -> Ints:
    dates = (year - 1970).astype("datetime64[Y]")
    return np.asarray((dates - np.datetime64("2100-01-01")).astype("timedelta64[m]").astype(np.int64))
