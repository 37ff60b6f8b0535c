"""What each kind of component must do. One protocol a kind; no base class to inherit from.

Every component is a class with two class attributes: `name`, under which the YAML asks for it, and `Params`, a
strict pydantic model (`eagbench.api.StrictParams`) that is validated while planning. The instance is made with
`Component(params)`; making one must be cheap and must not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from eagbench.contracts.answers import Prediction, ScoredCases, Trajectory
from eagbench.contracts.language_models import LanguageModel
from eagbench.contracts.method_plan import MethodPlan
from eagbench.contracts.records import Access, Case, Cases, Cohort, FloatArray, Reads, TrainingData
from eagbench.contracts.stages import StageNode, StageRun


class StrictParams(BaseModel):
    """Base of every component's `Params`: unknown keys and wrong types are refused, values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class Component(Protocol):
    """What all kinds share."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]


@runtime_checkable
class Dataset(Protocol):
    """Reads a source into a cohort of cases.

    Called by the `cohort` stage. The loader converts units to the vocabulary's, removes implausible values, counts
    what it leaves out, and raises `UserError` for what the user can mend.

    Two optional attributes serve transfer between domains. `groups`, of the class, maps each fact of
    `Cohort.groups` by which a benchmark may divide the cases (`domain_by`) to its values. `hospitals` names the
    hospitals (or networks of them) whose patients the records are of, for generated ones the generator with its seed:
    two data sets that share one are not taken into one transfer, because they may share patients; nor is one that says
    None, or nothing.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def access(self) -> Access:
        """Whether the records are open, synthetic or credentialed."""
        ...

    def files(self) -> Sequence[Path]:
        """The files that `load` reads; their content enters the fingerprint. Empty if `generate` makes them.

        Raises:
            UserError: The root or one of its files is missing.
        """
        ...

    def generate(self, run: StageRun) -> None:
        """Writes the source files into `run.out`; called only when `files` is empty."""
        ...

    def load(self, generated: Path | None, run: StageRun) -> Cohort:
        """Reads the cohort from its files, or from the folder that `generate` wrote."""
        ...


@runtime_checkable
class Expert(Protocol):
    """A supervised model of the record: a probability and a weight per feature for each case.

    Lifecycle: `fit` once, `save`, then `load` in other processes, `predict` and `salience` there.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def fit(self, data: TrainingData, run: StageRun) -> None:
        """Fits on `data.train`; `data.tuning` may serve early stopping and nothing else. Seeded by `run.seed`."""
        ...

    def predict(self, cases: Cases) -> FloatArray:
        """Probability of the outcome. Shape (N,), in [0, 1]. A feature that training did not have is passed over."""
        ...

    def salience(self, cases: Cases) -> FloatArray:
        """Weight per feature, non-negative, summing to 1 per case. Shape (N, F) in `cases.features` order."""
        ...

    def save(self, folder: Path) -> None:
        """Writes all that `load` needs, without pickle."""
        ...

    @classmethod
    def load(cls, params: Any, folder: Path) -> Expert:
        """The fitted expert that `save` wrote."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A language model that reads a case as text.

    `prepare` writes a model folder once (building and pre-training it, or pointing to one on disk); `open` loads
    that folder. It never sees a label or a held-out case. One whose prompts go to another machine says so by an
    attribute or property `leaves_machine = True` and is refused for credentialed data unless attested; one whose model
    is no `AttentionProbe` by `gives_attention = False`, and is refused where a metric needs its attention.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def content(self) -> str | None:
        """Hash of outside files that the policy reads (a local model folder), None if there are none.

        Raises:
            UserError: The files are missing or are not a model.
        """
        ...

    def prepare(self, cases: Cases, record_text: Any, run: StageRun) -> None:
        """Writes the model folder into `run.out`.

        Args:
            cases: Training cases, unlabelled.
            record_text: The fitted `RecordText` by which cases become text.
            run: Folder, seed, progress.
        """
        ...

    def open(self, folder: Path) -> LanguageModel:
        """Opens a model folder: that of `prepare`, or one that training wrote."""
        ...


@runtime_checkable
class Reward(Protocol):
    """A number for a trajectory, given the label and the expert's salience of its case.

    A reward that can't do without salience says so by a class attribute `needs_salience = True`; a benchmark that uses
    it without an expert is then refused while planning. With `needs_attention = True` the policy's own attention is
    measured for every answer that it judges (`Trajectory.attention`).
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """The named parts and their weighted `total`. An unparsed answer gets less than the worst parsed one.

        Args:
            case: A training case.
            label: Its label.
            trajectory: What the policy wrote.
            salience: The cross-fitted expert's weight per feature that it reads, None if the method has no expert.
                Across domains an expert reads what all share, and the case may hold more.
        """
        ...


@dataclass(frozen=True, slots=True)
class SearchTask:
    """One case to search for: what to write to, and how a finished trajectory is judged.

    Attributes:
        case: The training case.
        prompt: The text the policy continues.
        reward: Gives a trajectory's named parts and their `total`.
        stop: Strings that end an answer.
        max_new_tokens: Bound on the tokens of one whole answer.
        salience: The cross-fitted expert's weight per feature that it reads, None if the method has no expert. Across
            domains an expert reads what all share, and the case may hold more.
    """

    case: Case
    prompt: str
    reward: Callable[[Trajectory], Mapping[str, float]]
    stop: tuple[str, ...] = ()
    max_new_tokens: int = 512
    salience: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Trajectories with their rewards, best first, and the tokens they took.

    Attributes:
        case_id: The case.
        trajectories: All finished trajectories.
        rewards: For each trajectory the reward's named parts, `total` among them.
        generated_tokens: Every token written, rejected ones included.
        tree: JSON value that shows how the search went, for `eagbench show`; None for a search without a tree.
    """

    case_id: str
    trajectories: tuple[Trajectory, ...]
    rewards: tuple[Mapping[str, float], ...]
    generated_tokens: int
    tree: Any = None


@runtime_checkable
class Search(Protocol):
    """Looks for trajectories of high reward on training cases, within a token budget per case.

    It has to be a function of its arguments and of what the model writes, and of nothing else: an interrupted search is
    continued by running it again on a journal of what the model wrote. Two optional class attributes say what it needs:
    `needs_salience = True` (an expert), `needs_steps = True` (the style `question_decomposition`, which has steps).
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def run(
        self,
        model: LanguageModel,
        tasks: Sequence[SearchTask],
        read: Any,
        token_budget: int,
        seed: int,
    ) -> list[SearchResult]:
        """Searches for every task, batching over them.

        Args:
            model: The policy, opened.
            tasks: The cases.
            read: `read(case, text, tokens) -> Trajectory`, the style's strict reader.
            token_budget: Tokens that may be written per case.
            seed: Seed of the sampling.
        """
        ...


@runtime_checkable
class Method(Protocol):
    """What a benchmark compares. It owns its training stages; the core owns prediction's grid and scoring."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]
    reads: ClassVar[Reads]

    def __init__(self, params: Any) -> None: ...

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declares the stages whose folders `predict` needs, by name. Called once per fold and seed, while planning."""
        ...

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Predicts unlabelled cases; `run.inputs` holds the folders that `stages` declared."""
        ...


@runtime_checkable
class Perturbation(Protocol):
    """A change of the record at prediction time, drawn per case, the same for every method.

    `applies_to` says which readers it means something for; the grid marks the other cells `not_applicable`. An optional
    class attribute `severity_unit: str` says what a severity counts ("share of the times", "hours"), for figures. An
    optional class attribute `draws_like: str` names another perturbation whose seeds this one gets, so that both change
    the same part of a case and can be compared.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]
    applies_to: ClassVar[frozenset[Reads]]
    levels: ClassVar[tuple[float, float, float, float, float]]

    def __init__(self, params: Any) -> None: ...

    def check_severity(self, severity: float) -> None:
        """Raises `ValueError` with the permitted range if the severity makes no sense."""
        ...

    def fit(self, cases: Cases) -> None:
        """Learns what it needs from unlabelled training cases."""
        ...

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """The changed case; the input is left untouched. Severity 0 changes nothing; the same seed at a higher severity
        changes at least what a lower one does.
        """
        ...


@runtime_checkable
class Metric(Protocol):
    """A number per set of scored cases, computed for many resamples at once.

    `reads_probability` is True for a function of the probabilities: where answers were unparsed, such a metric is also
    reported over the parsed cases only and for the worst case (`eagbench.metrics.unparsed`). With an optional class
    attribute `needs_attention = True` the policies' own attention is measured at prediction. With an optional
    `needs_reference_expert = True` it is not compared between runs with different ones. With an optional
    `biased = True` differences are shown and not tested: of two methods without a fault, the one whose answers scatter
    more would be found worse.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]
    better: ClassVar[Literal["higher", "lower", "neither"]]
    reads_probability: ClassVar[bool]

    def __init__(self, params: Any) -> None: ...

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """The metric for each row of weights.

        Args:
            scored: N cases.
            weights: How often each case counts, shape (B, N); all ones for the point value.

        Returns:
            Shape (B,); NaN where the metric is undefined (one class only, no reference expert).
        """
        ...


@runtime_checkable
class Tracker(Protocol):
    """Hears of numbers while stages run (TensorBoard, W&B, MLflow). Refused for credentialed data unless attested."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]
    leaves_machine: ClassVar[bool]

    def __init__(self, params: Any) -> None: ...

    def start(self, run_name: str, folder: Path) -> None:
        """Called once before the first stage."""
        ...

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Called with numbers of a stage."""
        ...

    def finish(self) -> None:
        """Called once after the last stage."""
        ...
