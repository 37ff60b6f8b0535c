"""Data that flows between the stages: frozen, and read-only.

Labels and cases are separate objects on purpose. `Cases` carry no label, `LabelledCases` exist only for training and
tuning, and only the `score` stage sees the labels of held-out cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from eagbench.contracts.block_sequence import BlockSequence
from eagbench.contracts.prompts import Wording
from eagbench.contracts.read_only import freeze, read_only, read_only_mapping
from eagbench.contracts.renamed import renamed_fields

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]

Access = Literal["open", "synthetic", "credentialed"]
Reads = Literal["columns", "text"]
# The name, among `Cohort.groups`, of the part (train, tuning, held_out; empty if unknown) of the data set's own split.
SOURCE_SPLIT = "source_split"


@dataclass(frozen=True, slots=True)
class Feature:
    """A clinical variable that varies over time.

    Attributes:
        name: The concept's name, in snake_case; the key in every record.
        label: The clinician's name for it, for text and tables.
        unit: The unit of every value in the record ("1" for a pure number or score).
        plausible: Lowest and highest possible value in a living patient; values outside are removed.
        reference: Lower and upper reference limit in adults; None for a missing limit.
        synonyms: Other names under which an answer may cite the feature.
        loinc: A representative LOINC code, None where there is none.
        decimals: Decimals to which its values in `unit` are reported; None if not declared.
    """

    name: str
    label: str
    unit: str
    plausible: tuple[float, float]
    reference: tuple[float | None, float | None] = (None, None)
    synonyms: tuple[str, ...] = ()
    loinc: str | None = None
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """The binary question of a benchmark.

    Attributes:
        name: For example `in_hospital_mortality`.
        outcome: The event in words, as a prompt writes it ("die before leaving the hospital").
        role: The role that a prompt gives its reader ("an intensive care physician").
        window_hours: Length of the observation window in hours.
    """

    name: str
    outcome: str
    role: str
    window_hours: float


@dataclass(frozen=True, slots=True)
class Rendering:
    """How the text of one record writes a feature, if that differs from the cohort's description.

    Attributes:
        name: The name on its line.
        unit: The unit on its line.
        factor: Together with `offset` gives the written number: `factor * value + offset`.
        offset: See `factor`.
    """

    name: str
    unit: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Distractor:
    """Measurements that appear only in one record's text: not a feature of the cohort, so not a column of any model.

    Attributes:
        feature: What is measured.
        values: Its values at the record's times, NaN where nothing was measured. Shape (T,), float32, read-only.
        before: Position of the record's feature that follows it in the text; F for the end.
    """

    feature: Feature
    values: FloatArray
    before: int

    def __post_init__(self) -> None:
        freeze(self, values=read_only(self.values))


@renamed_fields(written="renderings", further="distractors")
@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One patient's record up to the prediction time. It holds no label.

    Attributes:
        case_id: Unique in its cohort.
        patient_id: The patient; several cases may share one.
        features: Names of the columns of `values`, in the record's order. Length F.
        times: Hours since the start of the observation window, increasing; a perturbed record may hold a time twice.
            Shape (T,), float64, read-only.
        values: Measurements in the features' units, NaN where nothing was measured. Shape (T, F), float32, read-only.
        static: Facts that do not change: `age` in years, `sex` (1 male, 0 female), and what the data set adds; NaN
            where unknown. Read-only.
        renderings: Features that this record's text writes differently from the cohort's description. Their values
            stay in the cohort's units. Only perturbations set it.
        distractors: Lines that appear only in this record's text. Only perturbations set it.
        wordings: Other words for the prompts about this case, by the prompt's name; empty if they are asked in their
            own. Only perturbations set it.
    """

    case_id: str
    patient_id: str
    features: tuple[str, ...]
    times: FloatArray
    values: FloatArray
    static: Mapping[str, float]
    renderings: Mapping[str, Rendering] = field(default_factory=dict)
    distractors: tuple[Distractor, ...] = ()
    wordings: Mapping[str, Wording] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.times), len(self.features)):
            raise ValueError(
                f"case {self.case_id}: values {self.values.shape} for {len(self.times)} times "
                f"and {len(self.features)} features"
            )
        freeze(
            self,
            times=read_only(self.times),
            values=read_only(self.values),
            static=read_only_mapping(self.static),
            renderings=read_only_mapping(self.renderings),
            wordings=read_only_mapping(self.wordings),
        )

    def values_in_order(self, names: Sequence[str]) -> FloatArray:
        """Return the values with columns in the order of `names`; a feature that the record lacks is NaN.

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

    def with_columns(self, columns: Sequence[int] | IntArray) -> Case:
        """Return the record with these columns of `values` alone, in this order, with their features."""
        features = tuple(self.features[i] for i in columns)
        return replace(self, features=features, values=self.values[:, np.asarray(columns, dtype=int)])

    def observed(self) -> tuple[str, ...]:
        """Name the features with at least one value, in the record's order."""
        seen = ~np.isnan(self.values).all(axis=0) if len(self.times) else np.zeros(len(self.features), bool)
        return tuple(name for name, is_seen in zip(self.features, seen, strict=True) if is_seen)


@dataclass(frozen=True, slots=True, eq=False)
class Cases(Sequence[Case]):
    """Cases without labels: all that `predict` ever gets.

    The cases of a stored cohort are read in blocks when they are needed. Go through them in order, or through
    `partitions`, and your memory doesn't grow with the cohort; a case at any position is there as well, but jumping
    about in a large cohort reads a block each time.

    Attributes:
        features: The cohort's features in canonical order, the order of every salience array.
        static_names: The static facts every case has and every method reads, in canonical order. A case may hold
            others, such as a score that came with the data. Only code that knows their name reads them.
        task: The question.
        items: The cases.
    """

    features: tuple[Feature, ...]
    static_names: tuple[str, ...]
    task: Task
    items: Sequence[Case]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of `features`, in canonical order."""
        return tuple(feature.name for feature in self.features)

    @property
    def case_ids(self) -> tuple[str, ...]:
        """The ids of the cases, in order."""
        return self._known("case_id")

    @property
    def patient_ids(self) -> tuple[str, ...]:
        """The patient of each case, in order."""
        return self._known("patient_id")

    def _known(self, name: str) -> tuple[str, ...]:
        if isinstance(self.items, BlockSequence):
            return tuple(self.items.known[name])
        return tuple(getattr(case, name) for case in self.items)

    def with_items(self, items: Sequence[Case]) -> Cases:
        """Return the same description with other cases."""
        return replace(self, items=items if isinstance(items, BlockSequence) else tuple(items))

    def select(self, indices: Sequence[int] | IntArray) -> Cases:
        """Select the cases at the given positions."""
        if isinstance(self.items, BlockSequence):
            return self.with_items(self.items.select(indices))
        return self.with_items([self.items[int(i)] for i in indices])

    def partitions(self) -> Iterator[Cases]:
        """Yield the cases in order, in parts that fit into memory; cases that are in memory already in one part."""
        if isinstance(self.items, BlockSequence) and len(self):
            yield from map(self.with_items, self.items.blocks())
        else:
            yield self

    def changed(self, change: Callable[[range, Sequence[Case]], Iterable[Case]]) -> Cases:
        """Change every case: now if they are in memory, else when it is needed, and maybe more than once.

        Args:
            change: From the positions of some cases in a row and the cases to as many others of the same ids.
        """
        if isinstance(self.items, BlockSequence):
            return self.with_items(self.items.changed(change))
        return self.with_items(tuple(change(range(len(self)), self.items)))

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCases:
    """Cases with their labels, 0 or 1, shape (N,), read-only. Only training stages get these."""

    cases: Cases
    labels: IntArray

    def __post_init__(self) -> None:
        if len(self.cases) != len(self.labels):
            raise ValueError(f"{len(self.cases)} cases, {len(self.labels)} labels")
        freeze(self, labels=read_only(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: Sequence[int] | IntArray) -> LabelledCases:
        """Select the cases and labels at the given positions."""
        return LabelledCases(self.cases.select(indices), self.labels[np.asarray(indices, dtype=int)])

    @property
    def prevalence(self) -> float:
        """Share of positive labels."""
        return float(np.mean(self.labels))


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Training and tuning cases with labels: what a training stage may see. Never a held-out case."""

    train: LabelledCases
    tuning: LabelledCases


@dataclass(frozen=True, slots=True)
class ResultTimes:
    """When the laboratory results of one feature were known: those drawn in the observation windows.

    Attributes:
        drawn: Their number.
        known_late: Those known only at or after the prediction time.
        left_out: Those of `known_late` that the records leave out: all, or none if the benchmark asks for it.
        undated: Those without a time at which they were known; they count as known when drawn.
        lag_hours: Hours from drawing to knowing, of those that have both times: median, 95 % quantile and largest. None
            if none has.
    """

    drawn: int
    known_late: int
    left_out: int
    undated: int
    lag_hours: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a cohort.

    Attributes:
        source: Name of the data set.
        access: open, synthetic or credentialed.
        citation: The source that users of the results must cite, with the licence.
        patient_is_stay: True if the source has no patient id, so that each stay counts as a patient.
        n_patients_read: Patients in the source before any exclusion.
        exclusions: (reason, number of cases), in the order applied.
        implausible: Number of values per feature removed for being outside the plausible range.
        notes: What users must know about how the cases were made.
        result_times: When laboratory results were known, per feature, where the source says so.
    """

    source: str
    access: Access
    citation: str
    patient_is_stay: bool
    n_patients_read: int
    exclusions: tuple[tuple[str, int], ...] = ()
    implausible: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    result_times: Mapping[str, ResultTimes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """The cases of a data set: what its loader returns and the `cohort` stage stores.

    Attributes:
        cases: All cases of the task.
        labels: 0 or 1 per case, shape (N,).
        provenance: Their origin, and what was left out.
        groups: Named partitions of the cases (for example `icu_type`), each with one value per case. `SOURCE_SPLIT`
            names the parts of the data set's own split, for `split: source`.
        reference_probabilities: Probabilities from outside the methods, one per case, scored like them: the
            generator's own (`oracle`), or a clinical score.
    """

    cases: Cases
    labels: IntArray
    provenance: Provenance
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reference_probabilities: Mapping[str, FloatArray] = field(default_factory=dict)
