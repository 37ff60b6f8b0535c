"""What a component declares about itself: one dataclass per kind, validated when the component is registered.

A component declares its traits in an attribute `traits`: a class attribute if they are the same for all parameters, a
property if they are not::

    class TokensPerCase:
        name = "tokens_per_case"
        traits = MetricTraits(label="Tokens", better="lower", columns=("generated_tokens",))

Python itself raises an error for a misspelt trait, and eagbench reads no trait that is not declared here. Planning, the
manifest of a run and the report read them. A third party's metric is treated like a built-in one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from eagbench.contracts.records import Reads

BetterEnd = Literal["higher", "lower", "neither"]
# What a method without skill gets: a number, the event rate q (of AUPRC), or q(1 - q) (of the Brier score).
NoSkill = float | Literal["event_rate", "event_variance"] | None
MetricTable = Literal["main", "calibration", "alignment"]


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What every kind may declare.

    Attributes:
        former_names: Former names of the component in a YAML; they still work, with a note.
        parts: Parameters that list other components, with the kind of each (`{"members": "expert"}`). Those are
            validated while planning, and their code counts as part of the component's own.
    """

    former_names: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(isinstance(self.former_names, tuple), f"former_names is a tuple of names, not {self.former_names!r}")
        _check(isinstance(self.parts, Mapping), f"parts maps parameters to kinds, not {self.parts!r}")


@dataclass(frozen=True, kw_only=True)
class DatasetTraits(Traits):
    """What a data set declares.

    Attributes:
        groups: The facts of `Cohort.groups` that may divide the cases into domains (`domain_by`), with their values.
        hospitals: Where the patients were treated, or the generator and seed that made them up. Two data sets that
            share one can't be in the same transfer, because they may share patients. A data set with None can't be in a
            transfer at all.
        unknown: Static facts that the source does not hold. Any other one must be known for a case.
    """

    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hospitals: tuple[str, ...] | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExpertTraits(Traits):
    """What an expert declares."""


@dataclass(frozen=True, kw_only=True)
class PolicyTraits(Traits):
    """What a policy declares.

    Attributes:
        leaves_machine: Its prompts go to another machine, so it is refused for credentialed data unless attested.
        gives_attention: Its model is an `AttentionProbe`. Without it, a benchmark with a metric that needs attention is
            refused.
        gives_probabilities: Its model can continue a begun answer and weigh candidates. Without it, a benchmark with
            `answer: expectation` is refused.
        weights_note: What readers of its results must know about its weights, as a clause that begins with "its
            weights" ("its weights were rounded to 4 bits"). It stands in the manifest and above every table; empty if
            there is nothing to know.
        setup: What was settled for this machine, as a clause ("it computes in bfloat16"). `plan` prints it, and it
            stands in the manifest; empty if nothing was.
    """

    leaves_machine: bool = False
    gives_attention: bool = True
    gives_probabilities: bool = True
    weights_note: str = ""
    setup: str = ""


@dataclass(frozen=True, kw_only=True)
class PromptTraits(Traits):
    """What a prompt declares."""


@dataclass(frozen=True, kw_only=True)
class SearchTraits(Traits):
    """What a search declares.

    Attributes:
        needs_salience: It needs an expert.
        needs_steps: It needs the style `question_decomposition`, which has steps.
        case_by_case: `run` gives a case what it gives it among others. Then a policy with local weights writes for all
            cases at once without any of them waiting for the others: each is searched in a thread of its own, of which
            one runs at a time.
    """

    needs_salience: bool = False
    needs_steps: bool = False
    case_by_case: bool = False


@dataclass(frozen=True, kw_only=True)
class RewardTraits(Traits):
    """What a reward declares.

    Attributes:
        needs_salience: It needs an expert; a benchmark that uses it without one is refused while planning.
        needs_attention: It needs the policy's own attention, measured for every answer that it judges.
    """

    needs_salience: bool = False
    needs_attention: bool = False


@dataclass(frozen=True, kw_only=True)
class MethodTraits(Traits):
    """What a method declares.

    Attributes:
        reads: What it reads of a record. A condition that has no effect for such readers is `not_applicable`.
    """

    reads: Reads

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.reads in get_args(Reads), f"reads is one of {', '.join(get_args(Reads))}, not {self.reads!r}")


@dataclass(frozen=True, kw_only=True)
class PerturbationTraits(Traits):
    """What a perturbation declares.

    Attributes:
        levels: The severities of levels 1 to 5, rising.
        severity_unit: The unit of a severity ("share of the times", "hours"), for figures.
        applies_to: The readers that it affects; the grid marks the other cells `not_applicable`.
        draws_like: Name of another perturbation whose seeds this one uses, so that both change the same part of a case
            and can be compared.
    """

    levels: tuple[float, float, float, float, float]
    severity_unit: str = ""
    applies_to: frozenset[Reads] = frozenset(get_args(Reads))
    draws_like: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        rising = len(self.levels) == 5 and list(self.levels) == sorted(set(self.levels))
        _check(rising, f"levels are five rising severities, not {self.levels!r}")
        known = bool(self.applies_to) and self.applies_to <= set(get_args(Reads))
        _check(known, f"applies_to holds {' or '.join(get_args(Reads))}, not {self.applies_to!r}")


@dataclass(frozen=True, kw_only=True)
class MetricTraits(Traits):
    """What a metric declares.

    Attributes:
        better: Which direction is better. With one, the metric has an arrow, a loss under perturbations and a paired
            test.
        label: Display name; if empty, its name in words.
        definition: Its definition in one clause, for a caption; empty if every reader knows it.
        reads_probability: It is a function of the probabilities. If answers were unparsed, it is also reported over the
            parsed cases only and for the worst case. It is also reported for corrected and recalibrated probabilities.
        biased: It is biased on a finite sample, so differences are shown but not tested. A test would favour, among two
            faultless methods, the one whose answers scatter less.
        needs_attention: It needs the policies' own attention, measured at prediction.
        needs_reference_expert: It compares with the reference expert. It is not compared between runs with different
            reference experts.
        columns: The columns it reads in `ScoredCases.columns`, by the names that methods give in `Prediction.extras`.
            The core gives those of answers about changed records (`contracts.rereading`), and asks again for them.
        no_skill: The value of a method without skill.
        is_share: It is printed as a percentage.
        decimals: Number of decimals printed, if it is not a share.
        table: The report table that shows it.
        depends_on_scale: It may differ between answers that rank cases alike, as the Brier score does. The calibration
            tables show it as answered, corrected and recalibrated.
        curve: The report plots it over the severities of each perturbation.
        undefined: Why it may be undefined, for the table of missing cells.
    """

    better: BetterEnd
    label: str = ""
    definition: str = ""
    reads_probability: bool = False
    biased: bool = False
    needs_attention: bool = False
    needs_reference_expert: bool = False
    columns: tuple[str, ...] = ()
    no_skill: NoSkill = None
    is_share: bool = False
    decimals: int = 3
    table: MetricTable = "main"
    depends_on_scale: bool = False
    curve: bool = True
    undefined: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.better in get_args(BetterEnd), f"better is higher, lower or neither, not {self.better!r}")
        _check(self.table in get_args(MetricTable), f"table is main, calibration or alignment, not {self.table!r}")
        names = isinstance(self.columns, tuple) and all(isinstance(name, str) for name in self.columns)
        _check(names, f"columns is a tuple of names, not {self.columns!r}")
        is_known = self.no_skill in (None, "event_rate", "event_variance") or isinstance(self.no_skill, int | float)
        _check(is_known, f"no_skill is a number, 'event_rate' or 'event_variance', not {self.no_skill!r}")

    @property
    def is_tested(self) -> bool:
        """Whether differences are tested: the metric has a better direction and is not biased on a finite sample."""
        return self.better != "neither" and not self.biased

    @property
    def is_plotted(self) -> bool:
        """Whether it is in the forest plot: it has a curve, or is a function of the probabilities."""
        return self.table == "main" and (self.curve or self.reads_probability)

    def without_skill(self, event_rate: float | None) -> float | None:
        """Return the value of a method without skill; None if unknown.

        Args:
            event_rate: The share of events among the cases; None if it is not a single share.
        """
        if self.no_skill is None or isinstance(self.no_skill, int | float):
            return self.no_skill
        if event_rate is None:
            return None
        return event_rate if self.no_skill == "event_rate" else event_rate * (1 - event_rate)

    @property
    def sign(self) -> int:
        """1 if higher is better, -1 if lower is, 0 if neither is."""
        return {"higher": 1, "lower": -1}.get(self.better, 0)


@dataclass(frozen=True, kw_only=True)
class TrackerTraits(Traits):
    """What a tracker declares.

    Attributes:
        leaves_machine: Numbers go to another machine, so it is refused for credentialed data unless attested.
    """

    leaves_machine: bool = False


@dataclass(frozen=True, kw_only=True)
class ExecutorTraits(Traits):
    """What an executor declares.

    Attributes:
        draws_progress: Stages run in this process one after the other, so each may draw a progress bar.
    """

    draws_progress: bool = False


# Until 0.2 a class attribute of the trait's own name stands for it, and `components` for `parts`.
_AS_CLASS_ATTRIBUTES = frozenset(
    {"groups", "hospitals", "leaves_machine", "gives_attention", "needs_salience", "needs_attention", "needs_steps"}
    | {"reads", "applies_to", "levels", "severity_unit", "draws_like", "better", "reads_probability", "biased"}
    | {"needs_reference_expert", "components"}
)


def traits_of[Declared: Traits](component: Any, kind: type[Declared]) -> Declared:
    """Read the traits that a component declares.

    Args:
        component: An instance, or the class if its traits are the same for all parameters.
        kind: The dataclass of its kind, for example `RewardTraits`.

    Returns:
        Its `traits`; the kind's defaults for a component without any.

    Raises:
        TypeError: Its `traits` belong to another kind, or lack one that its kind requires.
    """
    found = getattr(component, "traits", None)
    if isinstance(found, kind):
        return found
    if found is not None and not isinstance(found, property):
        raise TypeError(f"`traits` is a {kind.__name__}, not {found!r}")
    return kind(**({} if isinstance(found, property) else _class_attributes(component, kind)))


def _class_attributes(component: Any, kind: type[Traits]) -> dict[str, Any]:
    declared = {}
    for trait in fields(kind):
        old = "components" if trait.name == "parts" else trait.name
        value = getattr(component, old, None) if old in _AS_CLASS_ATTRIBUTES else None
        if value is not None and not isinstance(value, property):
            declared[trait.name] = value
    if declared:
        name = component.__qualname__ if isinstance(component, type) else type(component).__qualname__
        written = ", ".join(f"{trait}=..." for trait in declared)
        warnings.warn(
            f"{name} declares {', '.join(declared)} as class attributes, which ends with eagbench 0.2: "
            f"write `traits = {kind.__name__}({written})`",
            DeprecationWarning,
            stacklevel=3,
        )
    return declared
