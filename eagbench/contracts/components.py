"""What each kind of component must do: one protocol per kind, and no base class to inherit from.

Every component is a class with two class attributes: `name`, its name in the YAML, and `Params`, a strict pydantic
model (`eagbench.api.StrictParams`) that is validated while planning. `Component(params)` creates the instance, which
must be cheap and must not import torch. A component declares anything else about itself in its attribute `traits`
(`eagbench.contracts.traits`). Kinds without a required trait may leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from eagbench.contracts.answers import Prediction, ScoredCases, Trajectory
from eagbench.contracts.cohort_stream import CohortStream
from eagbench.contracts.language_models import LanguageModel
from eagbench.contracts.method_plan import MethodPlan
from eagbench.contracts.prompts import Wording
from eagbench.contracts.read_only import freeze, read_only_mapping
from eagbench.contracts.records import Access, Case, Cases, Cohort, FloatArray, TrainingData
from eagbench.contracts.stages import StageNode, StageRun
from eagbench.contracts.traits import MethodTraits, MetricTraits, PerturbationTraits


class StrictParams(BaseModel):
    """Base of every component's `Params`: refuses unknown keys and wrong types; its values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class Component(Protocol):
    """Attributes that all kinds of component share."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]


@runtime_checkable
class Dataset(Protocol):
    """Reads a source into a cohort of cases.

    The `cohort` stage calls it. The loader converts units to the vocabulary's, removes implausible values, counts
    what it leaves out, and raises `UserError` for anything the user can fix.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def access(self) -> Access:
        """Tell whether the records are open, synthetic or credentialed."""
        ...

    def files(self) -> Sequence[Path]:
        """List the files that `load` reads; their content enters the fingerprint. Empty if it generates its source.

        Raises:
            UserError: The root or one of its files is missing.
        """
        ...

    def load(self, run: StageRun) -> Cohort | CohortStream:
        """Read the cohort from its files or `run.inputs["source"]`; as a `CohortStream` if it is large."""
        ...


@runtime_checkable
class SourceGenerator(Protocol):
    """A data set that writes its own source files when `files` lists none for its parameters."""

    def generate(self, run: StageRun) -> None:
        """Write the source files into `run.out`."""
        ...


@runtime_checkable
class Expert(Protocol):
    """A supervised model of the record: gives each case a probability and a weight per feature.

    Lifecycle: `fit` once, `save`, then `load` in other processes, `predict` and `salience` there.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def fit(self, data: TrainingData, run: StageRun) -> None:
        """Fit on `data.train`; use `data.tuning` for early stopping only. Seeded by `run.seed`."""
        ...

    def predict(self, cases: Cases) -> FloatArray:
        """Predict the outcome's probability, shape (N,), in [0, 1]. Features that training did not have are ignored."""
        ...

    def salience(self, cases: Cases) -> FloatArray:
        """Compute non-negative weights per feature, summing to 1 per case. Shape (N, F), in `cases.features` order."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that `load` needs, without pickle."""
        ...

    @classmethod
    def load(cls, params: Any, folder: Path) -> Expert:
        """Load the fitted expert that `save` wrote."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A language model that reads a case as text.

    `prepare` writes a model folder once: it builds and pre-trains a model, or points to one on disk. `open` loads that
    folder. A policy never sees a label or a held-out case.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def content(self) -> str | None:
        """Hash the outside files that the policy reads (a local model folder); None if there are none.

        Raises:
            UserError: The files are missing or are not a model.
        """
        ...

    def prepare(self, cases: Cases, record_text: Any, run: StageRun) -> None:
        """Write the model folder into `run.out`.

        Args:
            cases: Training cases, unlabelled.
            record_text: The fitted `RecordText` that turns cases into text.
            run: Folder, seed, progress.
        """
        ...

    def open(self, folder: Path) -> LanguageModel:
        """Open a model folder, written by `prepare` or by training."""
        ...


@runtime_checkable
class Prompt(Protocol):
    """The words around a record, and the format of the answer that they ask for.

    What it writes depends on its parameters only. Planning replaces its name by its words.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def wording(self) -> Wording:
        """Return the words."""
        ...


@runtime_checkable
class Reward(Protocol):
    """Scores a trajectory, given the label and the expert's salience of its case."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """Return the named parts and their weighted `total`. An unparsed answer gets less than the worst parsed one.

        Args:
            case: A training case.
            label: Its label.
            trajectory: What the policy wrote.
            salience: The cross-fitted expert's weight per feature that it reads, None if the method has no expert.
                Across domains an expert reads only the features that all domains share; the case may hold more.
        """
        ...


@runtime_checkable
class ComparesPatients(Protocol):
    """A reward that compares a case with other training cases: a stage shows it all of them before it judges any."""

    def fit(self, cases: Cases, salience: Mapping[str, Mapping[str, float]], risk: Mapping[str, float]) -> None:
        """Learn from the stage's training cases, whose labels are not shown. Called only if the method has an expert.

        Args:
            cases: The training cases that the stage uses.
            salience: The cross-fitted expert's weight per feature, by case id.
            risk: The cross-fitted expert's probability, by case id.
        """
        ...


@dataclass(frozen=True, slots=True)
class SearchTask:
    """One case to search: the prompt to answer, and the reward that judges a finished trajectory.

    Attributes:
        case: The training case.
        prompt: The text the policy continues.
        reward: Gives a trajectory's named parts and their `total`.
        stop: Strings that end an answer.
        max_new_tokens: Maximum number of tokens in one whole answer.
        salience: The cross-fitted expert's weight per feature that it reads, None if the method has no expert. Across
            domains an expert reads only the features that all domains share; the case may hold more.
    """

    case: Case
    prompt: str
    reward: Callable[[Trajectory], Mapping[str, float]]
    stop: tuple[str, ...] = ()
    max_new_tokens: int = 512
    salience: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.salience is not None:
            freeze(self, salience=read_only_mapping(self.salience))


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Trajectories with their rewards, best first, and the tokens they cost.

    Attributes:
        case_id: The case.
        trajectories: All finished trajectories.
        rewards: For each trajectory the reward's named parts, `total` among them.
        generated_tokens: Every token written, rejected ones included.
        tree: The course of the search as a JSON value, kept beside the trajectories; None for a search without a tree.
    """

    case_id: str
    trajectories: tuple[Trajectory, ...]
    rewards: tuple[Mapping[str, float], ...]
    generated_tokens: int
    tree: Any = None


@runtime_checkable
class Search(Protocol):
    """Searches training cases for trajectories of high reward, within a token budget per case.

    Its result must depend only on its arguments and on what the model writes. An interrupted search continues by
    running again on a journal of what the model wrote.
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
        """Search for every task, in batches over tasks.

        Args:
            model: The policy, opened.
            tasks: The cases.
            read: `read(case, text, tokens, thought=None) -> Trajectory`, the style's strict reader. It takes text and
                thought of a `Generation`.
            token_budget: Maximum number of tokens to write per case.
            seed: Seed of the sampling.
        """
        ...


@runtime_checkable
class Method(Protocol):
    """What a benchmark compares. A method owns its training stages; the core owns the prediction grid and scoring."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]
    traits: ClassVar[MethodTraits]

    def __init__(self, params: Any) -> None: ...

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declare the stages whose folders `predict` needs, by name. Called once per fold and seed, while planning."""
        ...

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Predict unlabelled cases; `run.inputs` holds the folders that `stages` declared."""
        ...


@runtime_checkable
class Perturbation(Protocol):
    """A change of the record at prediction time, drawn per case, the same for every method."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]
    traits: ClassVar[PerturbationTraits]

    def __init__(self, params: Any) -> None: ...

    def check_severity(self, severity: float) -> None:
        """Check the severity; raise `ValueError` with the permitted range if it makes no sense."""
        ...

    def fit(self, cases: Cases) -> None:
        """Learn what the change needs from unlabelled training cases."""
        ...

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Return the changed case; the input stays as it is.

        Severity 0 changes nothing. With the same seed, a higher severity changes at least what a lower one does.
        """
        ...


@runtime_checkable
class RewordsPrompts(Protocol):
    """A perturbation that changes the words of prompts (`Case.wordings`) and not the record."""

    def reworded(self) -> frozenset[str]:
        """Name the prompts that it has other words for; a benchmark that asks in another one is refused."""
        ...


@runtime_checkable
class Metric(Protocol):
    """Computes a number from scored cases, for many resamples at once."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]
    traits: ClassVar[MetricTraits]

    def __init__(self, params: Any) -> None: ...

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the metric for each row of weights.

        Args:
            scored: N cases.
            weights: How often each case counts, shape (B, N); all ones for the point value.

        Returns:
            Shape (B,); NaN where the metric is undefined (one class only, no reference expert).
        """
        ...


@runtime_checkable
class Tracker(Protocol):
    """Receives numbers while stages run (TensorBoard, W&B, MLflow)."""

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def start(self, run_name: str, folder: Path) -> None:
        """Start tracking; called once before the first stage."""
        ...

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Record numbers of a stage."""
        ...

    def finish(self) -> None:
        """Finish tracking; called once after the last stage."""
        ...
