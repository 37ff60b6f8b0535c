"""The tables of a cohort card: groups with their event rates, features, times, parts of the split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eagbench.config.benchmark import SubgroupSpec
from eagbench.contracts.records import Cohort
from eagbench.report.cohort_card.content import Cell, Section, count, interval, number, share, words
from eagbench.report.cohort_card.measured import Measured
from eagbench.report.export.small_cells import Counts, hidden, is_small
from eagbench.stages.subgroups import AGE, SEX, UNKNOWN, age_band, band_order
from eagbench.stats.proportion import share_interval

_LEVEL = 0.95
_MOST_GROUPS = 25
_QUARTILES = (0.25, 0.5, 0.75)
_QUARTILE_NAMES = ("lower quartile", "median", "upper quartile")
_AGE_BANDS: tuple[float, ...] = SubgroupSpec.model_fields["age_bands"].default


def partitions(cohort: Cohort, measured: Measured) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each fact that divides the cases, with its value for each of them."""
    for name, word in ((SEX, _sex), (AGE, _age)):
        if name in measured.static:
            yield name, tuple(UNKNOWN if np.isnan(found) else word(found) for found in measured.static[name])
    for name, values in cohort.groups.items():
        yield name, tuple(value or UNKNOWN for value in values)


def _sex(found: float) -> str:
    return "male" if found == 1 else "female"


def _age(found: float) -> str:
    return age_band(found, _AGE_BANDS)


def group_section(cohort: Cohort, measured: Measured, minimum: int) -> Section:
    """Count cases and events by group, with the interval of each event rate."""
    labels, patients = np.asarray(cohort.labels), np.array(cohort.cases.patient_ids)
    rows: list[tuple[Cell, ...]] = []
    notes = ["Rates with 95 % intervals."]
    if minimum > 1:
        notes.append(f"Suppressed: groups that show fewer than {minimum} patients, or from which that follows.")
    for fact, values in partitions(cohort, measured):
        of_case = np.array(values)
        cells = {str(value): _counts(labels[of_case == value]) for value in np.unique(of_case)}
        blank = _blank(cells, _counts(labels), minimum)
        chosen = sorted(cells, key=lambda value: -cells[value].cases)[:_MOST_GROUPS]
        if len(chosen) < len(cells):
            notes.append(f"Of {fact} the {_MOST_GROUPS} largest of {len(cells)} groups.")
        for subgroup in sorted((f"{fact}={value}" for value in chosen), key=band_order):
            value = subgroup.partition("=")[2]
            head = (words(fact), words(value))
            if value in blank:
                rows.append((*head, *(Cell(None, "suppressed"),) * 2, *(Cell(None, "-"),) * 2))
                continue
            mine = of_case == value
            ends = share_interval(labels[mine], patients[mine].tolist(), _LEVEL)
            found = cells[value]
            rate = share(found.positive, found.cases, 1)
            rows.append((*head, count(found.cases, 1), count(found.positive, 1), rate, interval(ends, ".1%")))
    columns = ("fact", "value", "cases", "with outcome", "event rate", "interval")
    return Section("groups", "Event rate by group", columns, tuple(rows), " ".join(notes))


def _blank(cells: Mapping[str, Counts], whole: Counts, minimum: int) -> set[str]:
    """Choose the cells to suppress. The number of all cases is shown; that of all events is not, if it is small."""
    if not whole.shows_few(minimum):
        return hidden(cells, whole, minimum)
    by_cases = {name: Counts(found.cases, 0) for name, found in cells.items()}
    return hidden(cells, None, minimum) | hidden(by_cases, Counts(whole.cases, 0), minimum)


def _counts(labels: Any) -> Counts:
    return Counts(len(labels), int(labels.sum()))


def feature_section(cohort: Cohort, measured: Measured, minimum: int) -> Section:
    """Say of each feature in how many cases it was measured, how often, and its quartiles."""
    cases, rows = cohort.cases, []
    for j, feature in enumerate(cases.features):
        counts = measured.counts[:, j]
        n_with = int((counts > 0).sum())
        quartiles: Sequence[Cell] = (Cell(None, "-"),) * 3
        often = Cell(None, "-")
        if n_with and not is_small(n_with, minimum):
            quartiles = [number(float(q)) for q in measured.values[feature.name].quantiles(_QUARTILES)]
            often = number(float(np.median(counts[counts > 0])))
        removed = cohort.provenance.implausible.get(feature.name, 0)
        rows.append(
            (
                words(feature.name),
                words(feature.unit),
                share(n_with, len(cases), minimum),
                often,
                *quartiles,
                count(removed, minimum),
            )
        )
    columns = ("feature", "unit", "cases with a value", "values per case", *_QUARTILE_NAMES, "removed")
    note = "Values per case: the median among cases with one. Removed: values outside the plausible range."
    return Section("features", "What was measured", columns, tuple(rows), note)


def time_section(cohort: Cohort, measured: Measured, minimum: int) -> Section:
    """Give quartiles of when records begin and end, for all cases and by outcome."""
    labels = np.asarray(cohort.labels)
    window = cohort.cases.task.window_hours
    lines = (
        ("first value, hour", measured.first_hour),
        ("last value, hour", measured.last_hour),
        ("last value, hours before the prediction", window - measured.last_hour),
        ("times with a value", measured.n_times),
        ("values", measured.counts.sum(axis=1)),
    )
    rows = []
    for name, numbers in lines:
        for who, mine in (("all", labels >= 0), ("with outcome", labels == 1), ("without", labels == 0)):
            found = numbers[mine & ~np.isnan(measured.first_hour)]
            shows = len(found) and not is_small(len(found), minimum)
            cells = [number(float(q)) for q in np.quantile(found, _QUARTILES)] if shows else [Cell(None, "-")] * 3
            rows.append((words(name), words(who), *cells))
    note = f"Hours since the start of the window of {window:g} hours; the prediction is made at its end."
    return Section("times", "When it was measured", ("what", "cases", *_QUARTILE_NAMES), tuple(rows), note)


def split_section(parts: Sequence[Mapping[str, Any]], minimum: int) -> Section:
    """Count patients, cases and events of each part of the first fold."""
    mine = [part for part in parts if part["fold"] == 0]
    cells = {part["part"]: Counts(part["n_cases"], part["n_positive"]) for part in mine}
    blank = _blank(cells, sum(cells.values(), Counts(0, 0)), minimum)
    rows = []
    for part in mine:
        name, found = part["part"], cells[part["part"]]
        if name in blank:
            rows.append((words(name), *(Cell(None, "suppressed"),) * 3, Cell(None, "-")))
            continue
        rate = share(found.positive, found.cases, 1)
        patients = count(part["n_patients"], minimum)
        rows.append((words(name), patients, count(found.cases, 1), count(found.positive, 1), rate))
    n_folds = 1 + max(part["fold"] for part in parts)
    note = f"The first of {n_folds} folds." if n_folds > 1 else ""
    return Section("split", "Split", ("part", "patients", "cases", "with outcome", "event rate"), tuple(rows), note)
