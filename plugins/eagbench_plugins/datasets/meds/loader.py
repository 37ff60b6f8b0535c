"""Builds a cohort from MEDS files: labels choose the cases, codes choose the values, the vocabulary converts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from eagbench.api import (
    SOURCE_SPLIT,
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
    vocabulary,
)
from eagbench_plugins.datasets.case_partitions import CASES
from eagbench_plugins.datasets.measurements import StayMeasurements, series_by_stay
from eagbench_plugins.datasets.meds.codes import is_named, places_of, read_code_file
from eagbench_plugins.datasets.meds.elapsed import HOUR, YEAR, elapsed_in
from eagbench_plugins.datasets.meds.facts import read_facts
from eagbench_plugins.datasets.meds.lifetimes import REASONS, contradictions
from eagbench_plugins.datasets.meds.params import MedsParams
from eagbench_plugins.datasets.meds.patients import Patients, find_patients
from eagbench_plugins.datasets.meds.source_files import (
    SourceFiles,
    read_labels,
    read_parent_codes,
    read_splits,
    source_files,
)
from eagbench_plugins.datasets.meds.values import Canonical, read_windows
from eagbench_plugins.datasets.stray_units import stray_notes


@dataclass(frozen=True, slots=True)
class _Codes:
    """The codes of the data, and which of them are read.

    Attributes:
        present: Every code of the data.
        written: The places that the user's file of codes names, by code.
        places: The places to read, by precedence.
    """

    present: frozenset[str]
    written: Mapping[str, SourceItem]
    places: Sequence[SourceItem]


def load_cohort(params: MedsParams, run: StageRun) -> CohortStream:
    """Read labels, codes and facts; the cases then come a range at a time.

    Raises:
        UserError: Something is wrong with the files, with the codes or with the units of their values.
    """
    words = vocabulary()
    files = source_files(params.root, params.labels, params.codes, params.patients)
    labels = read_labels(files.labels)
    window = pl.duration(microseconds=round(params.window_hours * 3600e6))
    subjects = labels["subject_id"].unique()
    facts = read_facts(files, subjects, params, run)
    codes = _find_codes(facts.codes, files, params, words)
    concepts = params.concepts or _in_order(codes.places, words)
    cases = (
        labels.with_row_index("case")
        .with_columns(pl.col("case").cast(pl.Int64), (pl.col("prediction_time") - window).alias("start"))
        .join(facts.people, on="subject_id", how="left", maintain_order="left")
    )
    patients = find_patients(facts.patients, subjects.to_list(), params, files.patients)
    splits = None if files.splits is None else read_splits(files.splits)
    source = _Source(params, files, cases, codes, patients, splits)
    task = Task(params.task, params.outcome, params.role, params.window_hours)
    return CohortStream(words.features(concepts), ("age", "sex"), task, source.blocks(concepts, run))


@dataclass(frozen=True, slots=True)
class _Source:
    """What was read of the source, beside its measurements.

    Attributes:
        params: The benchmark's.
        files: The files.
        cases: All labels in order of subject and time: `case` (0, 1, ...), `subject_id`, `start`, `prediction_time`,
            `boolean_value`, `birth`, `death`, `sex`.
        codes: Which codes are read.
        patients: The patient of each subject.
        splits: The part of each subject in the data set's own split, None without one.
    """

    params: MedsParams
    files: SourceFiles
    cases: pl.DataFrame
    codes: _Codes
    patients: Patients
    splits: Mapping[int, str] | None

    def blocks(self, concepts: tuple[str, ...], run: StageRun) -> Generator[CaseBlock, None, Provenance]:
        """Read the measurements, and yield the cases, a range of them at a time."""
        found = read_windows(self.files, self.cases, self.codes.places, run)
        values = Canonical(found.counts, self.codes.places, vocabulary())
        feature = np.array([concepts.index(item.concept) for item in self.codes.places], dtype=np.int64)
        left_out: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        n_kept = 0
        for first, rows in found.rows.read():
            here = self.cases.slice(first, CASES)
            number = values(rows)
            kept = ~np.isnan(number)
            rows = rows.filter(kept)
            place = rows["place"].to_numpy()
            case = rows["case"].to_numpy() - first
            hours = elapsed_in(HOUR, rows["elapsed"])
            measured = StayMeasurements(case, hours, feature[place], number[kept], place)
            series = series_by_stay(measured, len(here), len(concepts))
            first_hours = np.array([times[0] if len(times) else np.nan for times, _ in series])
            wrong = contradictions(here, first_hours)
            left_out.update(wrong.counts())
            block = self._block(here, series, ~(wrong.dead | wrong.unborn | np.isnan(first_hours)), concepts)
            n_kept += len(block.items)
            yield block
        unmeasured = len(self.cases) - left_out.total() - n_kept
        return self._provenance((*left_out.items(), ("no measurement in the observation window", unmeasured)), values)

    def _block(
        self,
        here: pl.DataFrame,
        series: Sequence[tuple[FloatArray, FloatArray]],
        is_kept: np.ndarray[tuple[int], np.dtype[np.bool_]],
        concepts: tuple[str, ...],
    ) -> CaseBlock:
        """Build the cases of a range that are kept."""
        chosen = np.flatnonzero(is_kept).tolist()
        kept = here[chosen]
        subjects = kept["subject_id"].to_list()
        described = zip(
            chosen, subjects, kept["prediction_time"], _ages(kept), kept["sex"].fill_null(np.nan), strict=True
        )
        return CaseBlock(
            items=tuple(
                Case(
                    case_id=f"{subject}@{time.isoformat()}",
                    patient_id=self.patients.of[subject],
                    features=concepts,
                    times=series[i][0],
                    values=series[i][1],
                    static={"age": float(age), "sex": float(sex)},
                )
                for i, subject, time, age, sex in described
            ),
            labels=kept["boolean_value"].to_numpy().astype(np.int64),
            groups=self._groups(subjects),
        )

    def _groups(self, subjects: Iterable[int]) -> dict[str, tuple[str, ...]]:
        if self.splits is None:
            return {}
        return {SOURCE_SPLIT: tuple(self.splits.get(subject, "") for subject in subjects)}

    def _provenance(self, exclusions: tuple[tuple[str, int], ...], values: Canonical) -> Provenance:
        return Provenance(
            source="meds",
            access=self.params.access,
            citation=self.params.citation,
            patient_is_stay=self.patients.are_stays,
            n_patients_read=len(set(self.patients.of.values())),
            exclusions=exclusions,
            implausible=values.implausible,
            notes=(*_notes(self.codes, values.stray), *self.patients.notes),
        )


def _find_codes(present: frozenset[str], files: SourceFiles, params: MedsParams, words: Vocabulary) -> _Codes:
    """Find the codes that hold the requested concepts.

    Raises:
        UserError: A file can't be read, or no code of the data represents a concept.
    """
    written = {} if files.codes is None else read_code_file(files.codes, words)
    parents = {} if files.code_metadata is None else read_parent_codes(files.code_metadata)
    places = places_of(present, parents, written, words)
    if params.concepts is not None:
        places = [place for place in places if place.concept in params.concepts]
    if not places:
        raise UserError(
            "no code of the data maps to a concept",
            where=str(params.root),
            hint="Name in data.codes a YAML file such as `LAB//50931//mg/dL: {concept: glucose}`.",
        )
    return _Codes(present, written, places)


def _in_order(places: Sequence[SourceItem], words: Vocabulary) -> tuple[str, ...]:
    held = {place.concept for place in places}
    return tuple(name for name in words.names if name in held)


def _notes(codes: _Codes, stray: Mapping[str, int]) -> tuple[str, ...]:
    notes = [
        "Case: a label of the label files. Observed: the hours before its prediction time, without that instant.",
        f"{len(codes.places)} of the data's {len(codes.present)} codes are read.",
    ]
    absent = [code for code in codes.written if not is_named(code, codes.present)]
    if absent:
        notes.append(f"{len(absent)} codes of the file of codes are not in the data (the first: {absent[0]}).")
    return (*notes, *stray_notes(stray))


def _ages(cases: pl.DataFrame) -> FloatArray:
    """Compute years from birth to the start of the window, NaN where unknown; 0 for who was born within it."""
    return elapsed_in(YEAR, (cases["start"] - cases["birth"]).clip(timedelta(0)))
