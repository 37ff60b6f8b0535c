"""Builds a cohort from CSV files: outcomes choose the cases, variables the values, the vocabulary converts."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from eagbench.api import (
    Case,
    CaseBlock,
    CohortStream,
    FloatArray,
    Provenance,
    SourceItem,
    StageRun,
    Task,
    UserError,
    Vocabulary,
)
from eagbench_plugins.datasets.case_partitions import CASES
from eagbench_plugins.datasets.long_csv.events import Events, read_events
from eagbench_plugins.datasets.long_csv.outcomes import Stays, read_stays
from eagbench_plugins.datasets.long_csv.params import LongCsvParams
from eagbench_plugins.datasets.long_csv.time_units import PER_HOUR
from eagbench_plugins.datasets.long_csv.values import Canonical, places_of
from eagbench_plugins.datasets.measurements import StayMeasurements, series_by_stay
from eagbench_plugins.datasets.stray_units import stray_notes

_NAMED = 5


def load_cohort(params: LongCsvParams, outcomes: Path, events: Sequence[Path], run: StageRun) -> CohortStream:
    """Read the files; the cases then come a range at a time.

    Raises:
        UserError: Something is wrong with the files, with the variables or with the units of their values.
    """
    words = params.vocabulary()
    stays = read_stays(outcomes, params, words)
    places = places_of(params, words)
    found = read_events(events, stays.table, places, params, run.checkpoints / "events")
    concepts = params.concepts or _concepts_found(found, places, words, events)
    patients = _patients(stays, found.patients, outcomes)
    values = Canonical(found.counts, places, words, events)
    task = Task(params.task, params.outcome, params.role, params.window_hours)
    source = _Source(params, stays, places, found, patients, values)
    return CohortStream(words.features(concepts), tuple(stays.static), task, source.blocks(concepts))


@dataclass(frozen=True, slots=True)
class _Source:
    """All that was read, from which the cases are made."""

    params: LongCsvParams
    stays: Stays
    places: Sequence[SourceItem]
    found: Events
    patients: Mapping[str, str]
    values: Canonical

    def blocks(self, concepts: tuple[str, ...]) -> Generator[CaseBlock, None, Provenance]:
        """Yield the cases, a range of them at a time."""
        n_cases = 0
        for first, rows in self.found.rows.read():
            n_here = min(CASES, len(self.stays.table) - first)
            series = series_by_stay(self._measured(rows, first, concepts), n_here, len(concepts))
            block = self._block(first, series, concepts)
            n_cases += len(block.items)
            yield block
        return self._provenance(n_cases)

    def _measured(self, rows: pl.DataFrame, first: int, concepts: tuple[str, ...]) -> StayMeasurements:
        values = self.values(rows)
        kept = ~np.isnan(values)
        rows = rows.filter(kept)
        place = rows["place"].to_numpy()
        column = {name: i for i, name in enumerate(concepts)}
        feature = np.array([column.get(item.concept, -1) for item in self.places], dtype=np.int64)
        # By NumPy, whose division is rounded correctly.
        hours = rows["at"].to_numpy() / PER_HOUR[self.params.time]
        return StayMeasurements(rows["case"].to_numpy() - first, hours, feature[place], values[kept], place)

    def _block(
        self, first: int, series: Sequence[tuple[FloatArray, FloatArray]], concepts: tuple[str, ...]
    ) -> CaseBlock:
        chosen = [i for i, (times, _) in enumerate(series) if len(times)]
        ids = self.stays.table["stay"].slice(first, len(series)).to_list()
        positions = [first + i for i in chosen]
        return CaseBlock(
            items=tuple(
                Case(
                    case_id=ids[i],
                    patient_id=self.patients.get(ids[i], ids[i]),
                    features=concepts,
                    times=series[i][0],
                    values=series[i][1],
                    static={name: float(column[first + i]) for name, column in self.stays.static.items()},
                )
                for i in chosen
            ),
            labels=self.stays.labels[positions],
            groups={name: tuple(column[i] for i in positions) for name, column in self.stays.groups.items()},
        )

    def _provenance(self, n_cases: int) -> Provenance:
        params, stays, found, patients = self.params, self.stays, self.found, self.patients
        listed = set(stays.patients["stay"])
        unlisted = len(set(found.patients["stay"]) - listed)
        return Provenance(
            source="long_csv",
            access=params.access,
            citation=params.citation,
            patient_is_stay=not patients,
            n_patients_read=len(set(patients.values())) if patients else len(listed) + unlisted,
            exclusions=(
                ("no row in the file of outcomes", unlisted),
                *stays.exclusions,
                ("no measurement in the observation window", len(stays.table) - n_cases),
            ),
            implausible={**self.values.implausible, **stays.implausible},
            notes=_notes(params, stays, found, self.places, self.values),
        )


def _concepts_found(
    found: Events, places: Sequence[SourceItem], words: Vocabulary, events: Sequence[Path]
) -> tuple[str, ...]:
    """Name the concepts that the variables of the files hold, in the vocabulary's order.

    Raises:
        UserError: There is none.
    """
    held = {item.concept for item in places if item.keys["variable"] in found.variables}
    if not held:
        named = ", ".join(sorted(found.variables)[:_NAMED]) or "none"
        raise UserError(
            f"no variable holds a known concept; the variables are {named}"
            + (" ..." if len(found.variables) > _NAMED else ""),
            where=str(events[0].parent),
            hint="Write `data: {variables: {HR: {concept: heart_rate, unit: beats/min}}}`; `eagbench data concepts` "
            "lists the concepts.",
        )
    return tuple(name for name in words.names if name in held)


def _patients(stays: Stays, pairs: pl.DataFrame, outcomes: Path) -> dict[str, str]:
    """Name the patient of each stay of both files, as either file says; empty if neither names patients.

    Raises:
        UserError: A stay has two patients, or a case has none where others have one.
    """
    said = pl.concat([stays.patients, pairs]).filter(pl.col("patient").is_not_null()).unique()
    twice = said.filter(said["stay"].is_duplicated()).sort("stay", "patient")
    if len(twice):
        names = ", ".join(twice.filter(pl.col("stay") == twice["stay"][0])["patient"])
        raise UserError(
            f"stay {twice['stay'][0]} belongs to several patients: {names}",
            where=str(outcomes.parent),
            hint="A stay is one patient's: make the ids of stays unique.",
        )
    patient = dict(said.iter_rows())
    lacking = [stay for stay in stays.table["stay"] if stay not in patient]
    if patient and lacking:
        raise UserError(
            f"stay {lacking[0]} has no patient", where=str(outcomes), hint="Name the patient of each stay, or of none."
        )
    return patient


def _notes(
    params: LongCsvParams, stays: Stays, found: Events, places: Sequence[SourceItem], values: Canonical
) -> tuple[str, ...]:
    read = {str(item.keys["variable"]) for item in places}
    unread = [(name, count) for name, count in found.variables.items() if name not in read]
    unread.sort(key=lambda item: (-item[1], item[0]))
    notes = [
        "Case: a stay of the file of outcomes. Observed: the hours from admission, without the prediction time itself.",
        f"{len(found.variables) - len(unread)} of {len(found.variables)} variables are read.",
    ]
    if unread:
        named = ", ".join(f"{name} ({count} rows)" for name, count in unread[:_NAMED])
        notes.append(f"Not read: {named}{' ...' if len(unread) > _NAMED else ''}.")
    absent = [name for name in params.variables if name in read and name not in found.variables]
    if absent:
        notes.append(f"{len(absent)} of data.variables are not in the events (the first: {absent[0]}).")
    if not stays.checks_end:
        notes.append(
            f"The outcomes have no column '{params.columns.end_time}': stays that ended before the prediction time "
            "can't be left out."
        )
    return (*notes, *stray_notes(values.stray_units))
