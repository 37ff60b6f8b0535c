"""The answers of methods, and the form in which metrics see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from eagbench.contracts.read_only import freeze, read_only, read_only_mapping
from eagbench.contracts.records import BoolArray, FloatArray, IntArray
from eagbench.contracts.renamed import renamed_fields

# The answer mode of a case that was not asked, because none of the first cases got an answer that can be read.
NOT_ATTEMPTED = "not_attempted"
# Why an answer could not be read, where the cause is known: names in `Prediction.extras`, 1 for a case it is true of.
TOO_LONG = "too_long"
UNPARSED_REASONS = (TOO_LONG,)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A policy's written answer to one case, as text and parsed.

    Attributes:
        case_id: The case.
        text: What the policy wrote, verbatim, without its thought.
        steps: (subquestion, answer) pairs; empty for styles without them.
        cited_features: Vocabulary names of the features that the answer lists as important, without repeats; None for
            a style that does not ask for them.
        hallucinated_features: Number of listed names that match no feature of the vocabulary.
        probability: The answer, None where it can't be read.
        generated_tokens: Tokens that the policy wrote.
        attention: The policy's own attention per feature when it answered, over the features in the prompt. Sums to 1;
            empty if the prompt has no feature; None if it was not measured, or the policy began no answer.
        thought: The model's own thought, verbatim; empty if there is none. The text follows it directly.
        truncated_thought: Whether a thought was begun and not closed, so that there is no answer.
    """

    case_id: str
    text: str
    steps: tuple[tuple[str, str], ...]
    cited_features: tuple[str, ...] | None
    hallucinated_features: int
    probability: float | None
    generated_tokens: int
    attention: Mapping[str, float] | None = None
    thought: str = ""
    truncated_thought: bool = False

    def __post_init__(self) -> None:
        freeze(self, attention=_weights(self.attention))

    @property
    def verbatim(self) -> str:
        """The thought and the text, as the policy wrote them."""
        return self.thought + self.text

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; those of a thought only where there is one."""
        fields = asdict(self)
        if self.attention is not None:
            fields["attention"] = dict(self.attention)
        if not self.thought:
            del fields["thought"]
        if not self.truncated_thought:
            del fields["truncated_thought"]
        return fields


@dataclass(frozen=True, slots=True)
class Prediction:
    """One method's answer for one case.

    Attributes:
        case_id: The case.
        probability: Probability of the outcome, None where the answer could not be read. It is then counted as
            unparsed and scored with the training prevalence, by the core and nowhere else.
        answer_mode: How the probability was read: `model` for an expert, else `greedy`, `mean_of_n`, `expectation`, or
            `not_attempted` for a case that was not asked.
        cited_features: Features the answer lists; None for a method that cites none by construction.
        trajectories: What was written, for methods that write.
        prior_corrected: The probability, corrected for the prior of the cases on which the policy learned to answer.
            None for an unparsed answer, and where that prior is unknown.
        extras: Further numbers of the answer by name, for example `generated_tokens` or what it cost. A metric reads
            those that its traits name as `columns`.
    """

    case_id: str
    probability: float | None
    answer_mode: str
    cited_features: tuple[str, ...] | None = None
    trajectories: tuple[Trajectory, ...] = ()
    prior_corrected: float | None = None
    extras: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        freeze(self, extras=read_only_mapping(self.extras))


@renamed_fields(teacher="reference", constant="baseline")
@dataclass(frozen=True, slots=True, eq=False)
class ScoredCases:
    """Predictions joined with labels, by case id: what a metric sees. All arrays have one entry per case (N,).

    All metrics share it, so its arrays and mappings are read-only.

    Attributes:
        probability: The scored probability; the training prevalence where the answer was unparsed.
        label: 0 or 1.
        parsed: Whether the answer could be read.
        cited: The features each answer cites, None for a method that cites none.
        reference: The reference expert's top features among those observed, None without a reference expert.
        baseline: The frequency baseline: the features that are most often on top in training. It is the same for every
            case of a fold; None without a reference expert.
        patient: The patient of each case; None if every case is a different patient.
        attention: The policy's attention per feature of its prompt, None for a case that has none; None if it was not
            measured.
        salience: The reference expert's weight of each feature observed in the case; None if attention was not
            measured or there is no reference expert.
        columns: The further numbers per case that metrics ask for (`MetricTraits.columns`), as methods gave them
            (`Prediction.extras`); NaN for a case, and for a method, without one. Each of shape (N,).
    """

    probability: FloatArray
    label: IntArray
    parsed: BoolArray
    cited: tuple[frozenset[str], ...] | None = None
    reference: tuple[frozenset[str], ...] | None = None
    baseline: tuple[frozenset[str], ...] | None = None
    patient: tuple[str, ...] | None = None
    attention: tuple[Mapping[str, float] | None, ...] | None = None
    salience: tuple[Mapping[str, float], ...] | None = None
    columns: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # All metrics share these cases: one that wrote would change the numbers of the others.
        freeze(
            self,
            probability=read_only(self.probability),
            label=read_only(self.label),
            parsed=read_only(self.parsed),
            attention=None if self.attention is None else tuple(map(_weights, self.attention)),
            salience=None if self.salience is None else tuple(map(read_only_mapping, self.salience)),
            columns=read_only_mapping({name: read_only(column) for name, column in self.columns.items()}),
        )

    def select(self, positions: Sequence[int] | IntArray) -> ScoredCases:
        """Select the cases at the given positions; a position may repeat.

        Args:
            positions: Shape (M,).
        """
        at = np.asarray(positions, dtype=np.int64)

        def taken[Column: tuple[Any, ...]](column: Column | None) -> Column | None:
            return None if column is None else tuple(column[i] for i in at)  # type: ignore[return-value]

        return ScoredCases(
            probability=self.probability[at],
            label=self.label[at],
            parsed=self.parsed[at],
            cited=taken(self.cited),
            reference=taken(self.reference),
            baseline=taken(self.baseline),
            patient=taken(self.patient),
            attention=taken(self.attention),
            salience=taken(self.salience),
            columns={name: column[at] for name, column in self.columns.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutLabels:
    """Labels of the held-out cases, and the probability for unparsed answers. Only `score` sees them.

    Attributes:
        label: By case id.
        patient: By case id.
        fold: By case id.
        training_prevalence: Share of positive training cases, by fold.
        reference_probabilities: For each reference (for example `oracle`), its probability by case id.
    """

    label: Mapping[str, int]
    patient: Mapping[str, str]
    fold: Mapping[str, int]
    training_prevalence: Mapping[int, float]
    reference_probabilities: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        freeze(
            self,
            label=read_only_mapping(self.label),
            patient=read_only_mapping(self.patient),
            fold=read_only_mapping(self.fold),
            training_prevalence=read_only_mapping(self.training_prevalence),
            reference_probabilities=read_only_mapping(
                {name: read_only_mapping(values) for name, values in self.reference_probabilities.items()}
            ),
        )


def _weights(weights: Mapping[str, float] | None) -> Mapping[str, float] | None:
    return None if weights is None else read_only_mapping(weights)
