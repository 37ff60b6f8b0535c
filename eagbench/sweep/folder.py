"""A sweep's folder: the names of its files, the content of `sweep.json`, and how to open its study.

    sweep.json       the sweep as resolved (`SweepRecord`)
    study.journal    Optuna's journal, unless the sweep has another storage
    trials.csv       one row per trial
    log.jsonl        one line per trial, then a line of sums: stages computed and reused, by kind
    best.yaml        the best trial as a benchmark; best_1.yaml, best_2.yaml ... for a Pareto set
    evaluation/      the run folder of `--evaluate-best`
    report.html      the report

Each trial of the study has these user attributes:

    origin     `{"default": true}`, `{"fixed": index}`, `{"retry_of": number}`, or `{}` for a sampled one
    lease      who runs it
    steps      `[{"seed": 0, "fold": 0, "values": [...]}, ...]`, one value per objective. The trial's values are their
               means. With rungs, each step also has its `rung`, by value, and the trial's value is the mean over the
               steps of the last rung.
    stages     `{"expert": {"computed": 1, "reused": 0}, ...}`
    seconds    how long it took
    failure    why it failed. `lost`: its process died, and its parameters are tried again. `surplus`: another process
               had taken the place. `user` or `bug`: a stage failed.
    reason     the message of a failed trial
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eagbench.config.secrets import masked
from eagbench.errors import UserError
from eagbench.execution.whole_files import read_marker, write_marker

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

# Says whose sweep a folder holds while it has no sweep.json: its storage may be begun before.
MARKER = ".eagbench-sweep"
SWEEP, TRIALS, LOG, EVALUATION = "sweep.json", "trials.csv", "log.jsonl", "evaluation"
PARAMETER_PREFIX, OBJECTIVE_PREFIX = "parameter:", "objective:"

Direction = Literal["maximize", "minimize"]
TuningScheme = Literal["tuning_part", "cross_validation"]


@dataclass(frozen=True, slots=True)
class ObjectiveRecord:
    """One of the numbers that a sweep optimises.

    Attributes:
        name: Its name in tables and figures; unique in its sweep.
        direction: Whether more or less of it is better.
        kind: A metric on tuning cases, its degradation under a perturbation, or a cost.
        of: The metric's or the cost's name.
        method: Label of the measured method.
        condition: Label of the perturbation, for a degradation.
        severity: Its severity.
    """

    name: str
    direction: Direction
    kind: Literal["metric", "degradation", "cost"]
    of: str
    method: str
    condition: str | None = None
    severity: float | None = None


@dataclass(frozen=True, slots=True)
class TuningRecord:
    """Which cases the objectives are measured on; never a held-out one.

    Attributes:
        scheme: `tuning_part`: the benchmark's tuning cases. `cross_validation`: they are too few, so each fold of the
            training and tuning patients is scored once.
        folds: Number of folds; 1 for `tuning_part`.
        n_cases: Cases that are scored, over all folds.
        n_positive: Those of them with the outcome.
    """

    scheme: TuningScheme
    folds: int
    n_cases: int
    n_positive: int


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """A sweep as it was resolved: what `sweep.json` holds.

    Attributes:
        name: The sweep's name, which is the study's as well.
        fingerprint: Hash of everything that makes trials comparable: the benchmark, space, objectives and cases.
        benchmark: The benchmark's file, as the sweep names it.
        benchmark_name: The benchmark's own name.
        domain: The data, as named in results.csv; the name of synthetic data contains SYNTHETIC.
        is_synthetic: Whether the records are synthetic.
        task: Name of the benchmark's task.
        objectives: What is optimised.
        space: The distribution of each path, as in the sweep's file.
        sampler: Optuna's name of the sampler, and its parameters.
        pruner: Optuna's name of the pruner, and its parameters.
        trials: Wanted number of finished trials (complete or pruned).
        seeds: Seeds of each trial.
        limit: Patients taken before the split, None for all.
        tuning: Which cases the objectives are measured on.
        default: Whether the benchmark as written was the first trial; if not, `default_reason` says why.
        default_reason: Why the benchmark as written is not in the space.
        storage: Where the study is stored: `study.journal`, or a URL without its password.
        eagbench: Version of eagbench.
        rungs: What grows from rung to rung of a trial, and its values; None if each trial is measured once.
    """

    name: str
    fingerprint: str
    benchmark: str
    benchmark_name: str
    domain: str
    is_synthetic: bool
    task: str
    objectives: tuple[ObjectiveRecord, ...]
    space: Mapping[str, Mapping[str, Any]]
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]
    trials: int
    seeds: tuple[int, ...]
    limit: int | None
    tuning: TuningRecord
    default: bool
    default_reason: str | None
    storage: str
    eagbench: str
    rungs: Mapping[str, Sequence[float]] | None = None

    def text(self) -> str:
        """Return the content of `sweep.json`, with secrets masked."""
        return json.dumps(masked(asdict(self)), indent=1)


@contextmanager
def begun(folder: Path, name: str) -> Iterator[None]:
    """Mark a folder as that of a sweep before anything else is written to it, unless it is marked or has sweep.json.

    The mark goes again where the user has to change the sweep first: it may then have another name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    is_new = not any((folder / held).is_file() for held in (SWEEP, MARKER))
    if is_new:
        write_marker(folder / MARKER, {"sweep": name})
    try:
        yield
    except UserError:
        if is_new:
            (folder / MARKER).unlink(missing_ok=True)
        raise


def held_sweep(folder: Path) -> str | None:
    """Name the sweep that a folder holds or was begun for; None if it says of none.

    Raises:
        UserError: The marker of an unfinished sweep is damaged.
    """
    if (folder / SWEEP).is_file():
        return read_sweep(folder).name
    path = folder / MARKER
    if not path.is_file():
        return None
    return read_marker(path, "sweep", "sweep")


def read_sweep(folder: Path) -> SweepRecord:
    """Read the record of a sweep from its folder.

    Raises:
        UserError: The folder is not a sweep's folder.
    """
    try:
        values = json.loads((folder / SWEEP).read_text())
    except FileNotFoundError as error:
        if (folder / MARKER).is_file():
            raise UserError(
                "this sweep was not finished",
                where=str(folder),
                hint="run the same `eagbench sweep` command again: it goes on where the sweep ended",
            ) from error
        raise UserError("this is not a sweep's folder: it has no sweep.json", where=str(folder)) from error
    return SweepRecord(
        **{
            **values,
            "objectives": tuple(ObjectiveRecord(**objective) for objective in values["objectives"]),
            "seeds": tuple(values["seeds"]),
            "tuning": TuningRecord(**values["tuning"]),
        }
    )


def rungs_climbed(trial: FrozenTrial) -> int:
    """Count the rungs that a trial has completed, in a sweep with rungs; it reports once at each."""
    return len(trial.intermediate_values)


def load_study(place: Path | str, storage: str | None = None) -> optuna.Study:
    """Load the study of a sweep.

    Args:
        place: The sweep's folder.
        storage: Full URL of its storage, needed if it has a password, which `sweep.json` leaves out.

    Raises:
        UserError: The folder is not a sweep's folder, or its storage can't be opened.
    """
    import optuna

    from eagbench.sweep.storage import open_storage

    folder = Path(place)
    record = read_sweep(folder)
    return optuna.load_study(study_name=record.name, storage=open_storage(storage or record.storage, folder))
