"""Hints that the outcome, or what comes after it, stands in the records. A hint is no proof: somebody has to look.

Each number about a record is asked how well it alone separates the outcomes: the last value of each feature, whether
and how often it was measured, when the record begins and ends, each static fact. Intervals are simultaneous over all of
them (Bonferroni), and a hint needs the near end of the interval beyond a limit. The limits were set on open records
(docs/data.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import Cohort, FloatArray, IntArray
from eagbench.report.cohort_card.content import Section, area, interval, words
from eagbench.report.cohort_card.measured import Measured
from eagbench.report.cohort_card.tables import partitions
from eagbench.stats.separation import Separation, separation

# A value that alone separates the outcomes better than this is rare in a true prediction.
NEAR_PERFECT = 0.9
# That much from how a patient was measured, whatever the values were.
TELLING = 0.65
# Below so many cases of a class nothing can be said.
FEWEST = 10
_LEVEL = 0.05
_SHOWN = 12
_MOST_REMOVED = 0.05
_RARE = 0.001
_TRACES = re.compile(
    r"\b(deaths?|dead(?! space)|died|deceased|dying|expired?(?! (?:co2|o2|air|gas|tidal|minute|volume))|mortality"
    r"|surviv\w*|alive|discharged?|disposition|hospice|palliative|comfort (?:care|measures)|dnr|dni|autopsy|morgue"
    r"|do not (?:resuscitate|intubate)|post ?mortem|withdrawal of (?:care|support|treatment)|organ don\w+|outcome"
    r"|readmi\w+)\b"
)
_NOT_OF_TASK = frozenset(
    {"in", "icu", "hospital", "of", "the", "day", "days", "hour", "hours", "within", "after", "stay"}
)


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """A number about each record.

    Attributes:
        what: What it is, for a table.
        kind: `value`, `measuring` or `static`.
        numbers: Shape (N,), NaN where unknown.
    """

    what: str
    kind: str
    numbers: FloatArray


def leak_section(cohort: Cohort, measured: Measured, basis: IntArray, fewest: int) -> tuple[Section, tuple[str, ...]]:
    """Ask every signal how well it separates the outcomes.

    Args:
        cohort: The cohort.
        measured: Its records.
        basis: Positions of the cases to use.
        fewest: Signals with fewer cases of a class are not judged.

    Returns:
        The strongest signals, and the hints.
    """
    labels = np.asarray(cohort.labels)[basis]
    patients = np.array(cohort.cases.patient_ids)[basis]
    signals = list(_signals(cohort, measured))
    level = 1 - _LEVEL / len(signals)
    judged: list[tuple[Signal, Separation]] = []
    for signal in signals:
        numbers = signal.numbers[basis]
        known = ~np.isnan(numbers)
        n_positive = int(labels[known].sum())
        if min(n_positive, int(known.sum()) - n_positive) >= fewest:
            judged.append((signal, separation(numbers[known], labels[known], patients[known].tolist(), level)))
    judged.sort(key=lambda pair: -pair[1].strength)
    rows = [
        (
            words(signal.what),
            area(found.auroc),
            interval((found.low, found.high), ".3f"),
            words("higher" if found.auroc >= 0.5 else "lower"),
        )
        for signal, found in judged[:_SHOWN]
    ]
    note = (
        f"The strongest of {len(judged)} numbers that could be judged ({len(signals) - len(judged)} have fewer than "
        f"{fewest} cases of a class). AUROC of each alone; 95 % intervals, simultaneous over all. The last column says "
        "how cases with the outcome differ."
    )
    section = Section(
        "signals", "What predicts alone", ("number", "AUROC", "interval", "with outcome"), tuple(rows), note
    )
    hints = [hint for signal, found in judged if (hint := _hint(signal, found))]
    found_otherwise = (
        *_named(cohort),
        *_outside(measured),
        *_removed(cohort, measured),
        *_pure(cohort, measured, basis, fewest),
    )
    return section, (*hints, *found_otherwise)


def _signals(cohort: Cohort, measured: Measured) -> Iterator[Signal]:
    for j, name in enumerate(cohort.cases.feature_names):
        yield Signal(f"last {name}", "value", measured.last[:, j])
        yield Signal(f"number of {name}", "measuring", measured.counts[:, j].astype(np.float64))
        yield Signal(f"whether {name} was measured", "measuring", (measured.counts[:, j] > 0).astype(np.float64))
    yield Signal("hour of the first value", "measuring", measured.first_hour)
    yield Signal("hour of the last value", "measuring", measured.last_hour)
    yield Signal("number of times", "measuring", measured.n_times.astype(np.float64))
    yield Signal("number of values", "measuring", measured.counts.sum(axis=1).astype(np.float64))
    for name, facts in measured.static.items():
        yield Signal(name, "static", facts)


def _hint(signal: Signal, found: Separation) -> str:
    """Say what a signal hints at; empty if at nothing."""
    told = f"{signal.what}: AUROC {found.auroc:.3f}" + (
        "" if np.isnan(found.low) else f" ({found.low:.3f} to {found.high:.3f})"
    )
    if found.surely >= NEAR_PERFECT:
        return (
            f"{told}. It alone is near-perfect. Do the records reach too close to the outcome, or past it? Is it "
            "known at the time of the prediction?"
        )
    if signal.kind == "measuring" and found.surely >= TELLING:
        return (
            f"{told}. How patients were measured tells the outcome, whatever the values are. Does a record end with "
            "the outcome, or is something measured because of it?"
        )
    return ""


def _named(cohort: Cohort) -> Iterator[str]:
    """Find features and static facts that are called like the outcome."""
    of_task = set(re.findall(r"[a-z]{3,}", cohort.cases.task.name.lower())) - _NOT_OF_TASK
    names = {feature.name: (feature.name, feature.label, *feature.synonyms) for feature in cohort.cases.features}
    names |= {name: (name,) for name in cohort.cases.static_names}
    for name, called in names.items():
        for text in called:
            plain = re.sub(r"[^a-z0-9]+", " ", text.lower())
            trace = _TRACES.search(plain)
            if trace or of_task & set(plain.split()):
                yield f"{name} is called '{text}', like a trace of the outcome. Is it known at the prediction?"
                break


def _outside(measured: Measured) -> Iterator[str]:
    """Find values that lie outside the window."""
    for numbers, where in ((measured.n_before, "before hour 0"), (measured.n_after, "after the prediction time")):
        if numbers.sum():
            yield f"there are values {where}."


def _removed(cohort: Cohort, measured: Measured) -> Iterator[str]:
    """Find features many of whose values were implausible, as in another unit."""
    for j, feature in enumerate(cohort.cases.features):
        removed, kept = cohort.provenance.implausible.get(feature.name, 0), int(measured.counts[:, j].sum())
        if removed > _MOST_REMOVED * (removed + kept):
            yield (
                f"{feature.name}: {removed / (removed + kept):.0%} of the values were removed as implausible in "
                f"{feature.unit}. Are some in another unit?"
            )


def _pure(cohort: Cohort, measured: Measured, basis: IntArray, fewest: int) -> Iterator[str]:
    """Find groups in which all or none have the outcome, which chance would hardly bring about."""
    labels = np.asarray(cohort.labels)[basis]
    rate = float(labels.mean()) if len(labels) else 0.0
    found = {(fact, value) for fact, values in partitions(cohort, measured) for value in values}
    for fact, values in partitions(cohort, measured):
        of_case = np.array(values)[basis]
        for value in np.unique(of_case):
            mine = labels[of_case == value]
            chance = {0.0: (1 - rate) ** len(mine), 1.0: rate ** len(mine)}.get(float(mine.mean()), 1.0)
            if len(mine) >= fewest and 0 < rate < 1 and chance * len(found) < _RARE:
                who = "all cases have" if mine.all() else "no case has"
                yield f"{fact}={value}: {who} the outcome. Is that how the patients were chosen?"
