"""Makes the card of a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eagbench.contracts.records import Cohort, IntArray
from eagbench.report.cohort_card.content import Card, Cell, Section, count, interval, share, words
from eagbench.report.cohort_card.leaks import FEWEST, leak_section
from eagbench.report.cohort_card.measured import Measured
from eagbench.report.cohort_card.tables import feature_section, group_section, split_section, time_section
from eagbench.report.export.small_cells import MINIMUM, Counts, hidden, is_small
from eagbench.stats.proportion import share_interval


def make_card(
    name: str, cohort: Cohort, parts: Sequence[Mapping[str, Any]] = (), training: IntArray | None = None
) -> Card:
    """Make the card of a cohort. Counts of a few patients are suppressed if the records are credentialed.

    Args:
        name: What to call it.
        cohort: At least one case.
        parts: The parts of a benchmark's split, as `read_parts` reads them; empty without a benchmark.
        training: Positions of the training cases of its first fold, in which hints are looked for; None for all cases.
    """
    minimum = MINIMUM if cohort.provenance.access == "credentialed" else 1
    measured = Measured.of(cohort.cases)
    basis = np.arange(len(cohort.cases)) if training is None else training
    signals, hints = leak_section(cohort, measured, basis, max(FEWEST, minimum))
    said = (
        "all cases: without a benchmark there is no part to keep out of sight"
        if training is None
        else "the training cases of the first fold; no held-out label was read for them"
    )
    sections = [
        group_section(cohort, measured, minimum),
        time_section(cohort, measured, minimum),
        feature_section(cohort, measured, minimum),
        *([split_section(parts, minimum)] if parts else []),
        _exclusions(cohort, minimum),
        signals,
    ]
    return Card(name, _facts(cohort, minimum), tuple(sections), hints, said, cohort.provenance.notes)


def _facts(cohort: Cohort, minimum: int) -> tuple[tuple[str, Cell], ...]:
    cases, provenance = cohort.cases, cohort.provenance
    labels = np.asarray(cohort.labels)
    n_patients, n_positive = len(set(cases.patient_ids)), int(labels.sum())
    lasts = Counts(len(cases), n_positive).shows_few(minimum)
    access = f"{provenance.access}, made up by a generator" if provenance.access == "synthetic" else provenance.access
    if minimum > 1:
        access += f"; counts of 1 to {minimum - 1} patients are suppressed"
    ends = (np.nan, np.nan) if lasts else share_interval(labels, cases.patient_ids, 0.95)
    stay = " (a stay counts as a patient: the source has no patient id)" if provenance.patient_is_stay else ""
    return (
        ("data set", words(provenance.source + (", SYNTHETIC" if provenance.access == "synthetic" else ""))),
        ("access", words(access)),
        ("question", words(f"{cases.task.name}: will the patient {cases.task.outcome}?")),
        ("window", Cell(cases.task.window_hours, f"{cases.task.window_hours:g} hours, prediction at its end")),
        ("patients read", _read(cohort, minimum)),
        ("patients", Cell(count(n_patients, minimum).value, count(n_patients, minimum).text + stay)),
        ("cases", count(len(cases), minimum)),
        ("with outcome", Cell(None, "suppressed") if lasts else count(n_positive, 1)),
        ("event rate", share(n_positive, len(cases), minimum)),
        ("event rate, interval", interval(ends, ".1%")),
        ("citation", words(provenance.citation)),
    )


def _read(cohort: Cohort, minimum: int) -> Cell:
    """Give the patients read, unless the small number that was left out would follow from it."""
    left_out = sum(n for _, n in cohort.provenance.exclusions)
    n_read = cohort.provenance.n_patients_read
    return Cell(None, "suppressed") if is_small(left_out, minimum) else count(n_read, minimum)


def _exclusions(cohort: Cohort, minimum: int) -> Section:
    counts = {reason: Counts(n, 0) for reason, n in cohort.provenance.exclusions}
    total = sum(counts.values(), Counts(0, 0))
    blank = hidden(counts, None if total.shows_few(minimum) else total, minimum)
    rows = [
        (words(reason), Cell(None, "suppressed") if reason in blank else count(found.cases, 1))
        for reason, found in counts.items()
    ]
    return Section("left_out", "Left out", ("reason", "cases"), tuple(rows))
