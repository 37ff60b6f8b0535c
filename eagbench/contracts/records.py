"""What flows between the stages: frozen, without behaviour beyond reading.

Labels and cases are different objects on purpose. `Cases` carry no label, `LabelledCases` exist only for training and
tuning, and only the `score` stage sees the labels of held-out cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from eagbench.contracts.renamed import renamed_fields

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]

Access = Literal["open", "synthetic", "credentialed"]
Reads = Literal["columns", "text"]


@dataclass(frozen=True, slots=True)
class Feature:
    """A clinical variable that varies over time.

    Attributes:
        name: The concept's name, in snake_case, the key in every record.
        label: What a clinician calls it, for text and tables.
        unit: The unit of every value in the record ("1" for a pure number or score).
        plausible: Lowest and highest value that can be real in a living patient; values outside are removed.
        reference: Lower and upper reference limit in adults, None where there is no such limit.
        synonyms: Other names under which an answer may cite the feature.
        loinc: A representative LOINC code, None where there is none.
    """

    name: str
    label: str
    unit: str
    plausible: tuple[float, float]
    reference: tuple[float | None, float | None] = (None, None)
    synonyms: tuple[str, ...] = ()
    loinc: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """The binary question of a benchmark.

    Attributes:
        name: For example `in_hospital_mortality`.
        outcome: The event in words, as it stands in a prompt ("die before leaving the hospital").
        role: Who the reader of a prompt is ("an intensive care physician").
        window_hours: Length of the observation window in hours.
    """

    name: str
    outcome: str
    role: str
    window_hours: float


@dataclass(frozen=True, slots=True)
class Rendering:
    """How the text of one record writes a feature, where that differs from the cohort's description.

    Attributes:
        name: The name on its line.
        unit: The unit on its line.
        factor: With `offset` makes the written number from the record's: `factor * value + offset`.
        offset: See `factor`.
    """

    name: str
    unit: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Distractor:
    """Measurements that only the text of one record holds: no feature of the cohort, so no column of any model.

    Attributes:
        feature: What is measured.
        values: Its values at the record's times, NaN where nothing was measured. Shape (T,), float32, read-only.
        before: Position among the record's features of the one that it stands before; F for the end.
    """

    feature: Feature
    values: FloatArray
    before: int

    def __post_init__(self) -> None:
        self.values.setflags(write=False)


@renamed_fields(written="renderings", further="distractors")
@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One patient's record up to the prediction time. It holds no label.

    Attributes:
        case_id: Unique in its cohort.
        patient_id: The patient; several cases may share one.
        features: Names of the columns of `values`, in the order in which the record lists them. Length F.
        times: Hours since the start of the observation window, increasing; a perturbed record may hold a time twice.
            Shape (T,), float64, read-only.
        values: Measurements in the features' units, NaN where nothing was measured. Shape (T, F), float32, read-only.
        static: Facts that do not change: `age` in years, `sex` (1 male, 0 female), and what the data set adds; NaN
            where unknown.
        renderings: Features that this record's text writes in another way than the cohort's description says; their
            values stay in the cohort's units. Only perturbations set it.
        distractors: Lines that only this record's text has. Only perturbations set it.
    """

    case_id: str
    patient_id: str
    features: tuple[str, ...]
    times: FloatArray
    values: FloatArray
    static: Mapping[str, float]
    renderings: Mapping[str, Rendering] = field(default_factory=dict)
    distractors: tuple[Distractor, ...] = ()

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.times), len(self.features)):
            raise ValueError(
                f"case {self.case_id}: values {self.values.shape} for {len(self.times)} times "
                f"and {len(self.features)} features"
            )
        self.times.setflags(write=False)
        self.values.setflags(write=False)

    def values_in_order(self, names: Sequence[str]) -> FloatArray:
        """The values with columns in the order of `names`; a feature that the record lacks is NaN.

        Returns:
            Shape (T, len(names)), float32.
        """
        if tuple(names) == self.features:
            return self.values
        column = {name: i for i, name in enumerate(self.features)}
        out = np.full((len(self.times), len(names)), np.nan, dtype=np.float32)  # (T, F)
        for j, name in enumerate(names):
            if name in column:
                out[:, j] = self.values[:, column[name]]
        return out

    def observed(self) -> tuple[str, ...]:
        """Names of the features with at least one value, in the record's order."""
        seen = ~np.isnan(self.values).all(axis=0) if len(self.times) else np.zeros(len(self.features), bool)
        return tuple(name for name, is_seen in zip(self.features, seen, strict=True) if is_seen)


@dataclass(frozen=True, slots=True, eq=False)
class Cases(Sequence[Case]):
    """Cases without labels: all that `predict` is ever given.

    Attributes:
        features: The cohort's features in their canonical order, which is the order of every salience array.
        static_names: The static facts every case has and every method reads, in canonical order. A case may hold
            others, which only those read who know their name (a score that came with the data).
        task: What is asked.
        items: The cases.
    """

    features: tuple[Feature, ...]
    static_names: tuple[str, ...]
    task: Task
    items: tuple[Case, ...]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of `features`, in canonical order."""
        return tuple(feature.name for feature in self.features)

    @property
    def case_ids(self) -> tuple[str, ...]:
        """The ids of the cases, in order."""
        return tuple(case.case_id for case in self.items)

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """The patient of each case, in order."""
        return tuple(case.patient_id for case in self.items)

    def with_items(self, items: Sequence[Case]) -> Cases:
        """The same description with other cases."""
        return Cases(self.features, self.static_names, self.task, tuple(items))

    def select(self, indices: Sequence[int] | IntArray) -> Cases:
        """The cases at the given positions."""
        return self.with_items([self.items[int(i)] for i in indices])

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCases:
    """Cases with their labels, 0 or 1, shape (N,). Only training stages are given these."""

    cases: Cases
    labels: IntArray

    def __post_init__(self) -> None:
        if len(self.cases) != len(self.labels):
            raise ValueError(f"{len(self.cases)} cases, {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: Sequence[int] | IntArray) -> LabelledCases:
        """The cases and labels at the given positions."""
        return LabelledCases(self.cases.select(indices), self.labels[np.asarray(indices, dtype=int)])

    @property
    def prevalence(self) -> float:
        """Share of positive labels."""
        return float(np.mean(self.labels))


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """What a training stage may see: training and tuning cases, with labels. Never a held-out case."""

    train: LabelledCases
    tuning: LabelledCases


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a cohort comes from.

    Attributes:
        source: Name of the data set.
        access: open, synthetic or credentialed.
        citation: Whom a reader of results has to cite, with the licence.
        patient_is_stay: True where the source has no patient id, so that a stay stands for a patient.
        n_patients_read: Patients in the source before any exclusion.
        exclusions: (reason, number of cases), in the order in which they were applied.
        implausible: Values removed per feature because they lay outside the plausible range.
        notes: What a reader must know about how cases were made.
    """

    source: str
    access: Access
    citation: str
    patient_is_stay: bool
    n_patients_read: int
    exclusions: tuple[tuple[str, int], ...] = ()
    implausible: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """What a data set's loader returns, and what the `cohort` stage stores.

    Attributes:
        cases: All cases of the task.
        labels: 0 or 1 per case, shape (N,).
        provenance: Where they come from and what was left out.
        groups: Named partitions of the cases (for example `icu_type`), each with one value per case.
        reference_probabilities: Probabilities that no method made, one per case, scored beside the methods: the
            generator's own (`oracle`), or a clinical score.
    """

    cases: Cases
    labels: IntArray
    provenance: Provenance
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reference_probabilities: Mapping[str, FloatArray] = field(default_factory=dict)
