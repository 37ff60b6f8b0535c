"""What each kind of component must do. One protocol a kind; no base class to inherit from.

Every component is a class with two class attributes: `name`, under which the YAML asks for it, and `Params`, a
strict pydantic model (`eagbench.api.StrictParams`) that is validated while planning. The instance is made with
`Component(params)`; making one must be cheap and must not import torch. What else a component declares about itself
stands in its attribute `traits` (`eagbench.contracts.traits`), which kinds without a required trait may leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from eagbench.contracts.answers import Prediction, ScoredCases, Trajectory
from eagbench.contracts.language_models import LanguageModel
from eagbench.contracts.method_plan import MethodPlan
from eagbench.contracts.records import Access, Case, Cases, Cohort, FloatArray, TrainingData
from eagbench.contracts.stages import StageNode, StageRun
from eagbench.contracts.traits import MethodTraits, MetricTraits, PerturbationTraits


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

    The `cohort` stage calls it. The loader converts units to the vocabulary's, removes implausible values, counts
    what it leaves out, and raises `UserError` for what the user can mend.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def access(self) -> Access:
        """Whether the records are open, synthetic or credentialed."""
        ...

    def files(self) -> Sequence[Path]:
        """Lists the files that `load` reads; their content enters the fingerprint. Empty if it generates its source.

        Raises:
            UserError: The root or one of its files is missing.
        """
        ...

    def load(self, run: StageRun) -> Cohort:
        """Reads the cohort from its files, or from `run.inputs["source"]`, the folder that `generate` wrote."""
        ...


@runtime_checkable
class SourceGenerator(Protocol):
    """A data set that writes its own source files, for parameters with which `files` lists none."""

    def generate(self, run: StageRun) -> None:
        """Writes the source files into `run.out`."""
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
    that folder. It never sees a label or a held-out case.
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
    """A number for a trajectory, given the label and the expert's salience of its case."""

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
    continued by running it again on a journal of what the model wrote.
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
    traits: ClassVar[MethodTraits]

    def __init__(self, params: Any) -> None: ...

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declares the stages whose folders `predict` needs, by name. Called once per fold and seed, while planning."""
        ...

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Predicts unlabelled cases; `run.inputs` holds the folders that `stages` declared."""
        ...


@runtime_checkable
class Perturbation(Protocol):
    """A change of the record at prediction time, drawn per case, the same for every method."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]
    traits: ClassVar[PerturbationTraits]

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
    """A number per set of scored cases, computed for many resamples at once."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]
    traits: ClassVar[MetricTraits]

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
    """Hears of numbers while stages run (TensorBoard, W&B, MLflow)."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

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


@runtime_checkable
class Executor(Protocol):
    """Where stages are computed: in this process, in others, on a cluster.

    Every executor leaves the same bytes: it orders and places the work and has no part in it. Its parameters are given
    on the command line (`--executor-option key=value`); one called `workers` takes `--workers`.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def execute(
        self,
        nodes: Sequence[StageNode],
        compute: Callable[[StageNode], object],
        done: Callable[[StageNode, object], bool],
    ) -> None:
        """Computes every stage after those that it needs.

        Args:
            nodes: The stages, each after those it needs (`StageNode.upstream`).
            compute: Does one stage, or finds it done, and returns its outcome. It can be pickled, may be called in
                another process with the same store, and never raises for what a stage does wrong.
            done: Is told of each outcome, in this process. Returns whether stages that need this one may go on; if
                not, they are passed to `done` with the outcome None and are not computed. What it raises ends the run.
        """
        ...
