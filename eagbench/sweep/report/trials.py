"""What a sweep's report knows about its trials: numbers for tables and figures, from `sweep.json` and the study."""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from eagbench.analysis.metric_uses import MetricUse
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.number_names import metric_and_calibration
from eagbench.report import wording
from eagbench.sweep.folder import ObjectiveRecord, SweepRecord, load_study, read_sweep
from eagbench.sweep.report.axes import Axis, axis_of, short_names

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TUNING = "TUNING CASES"
# PED-ANOVA asks for about this many trials among the best (optuna.importance.PedAnovaImportanceEvaluator).
_BEST_FOR_IMPORTANCE = 5
LEAST_FOR_IMPORTANCE = 2 * _BEST_FOR_IMPORTANCE
_BEST_SHARE = 0.1
_ARROWS = {"maximize": " ↑", "minimize": " ↓"}


class SweepFolder:
    """A sweep's folder with its study, read once.

    Args:
        path: The folder.
        storage: Full URL of its storage, needed if it has a password, which `sweep.json` leaves out.

    Attributes:
        record: The content of `sweep.json`.
        trials: All trials, in the order of their numbers.

    Raises:
        UserError: The folder is not a sweep's folder, or its storage can't be opened.
    """

    def __init__(self, path: Path, storage: str | None = None) -> None:
        self.path = path
        self.record: SweepRecord = read_sweep(path)
        self._study = load_study(path, storage)
        self.trials: list[FrozenTrial] = sorted(self._study.get_trials(), key=lambda trial: trial.number)

    @cached_property
    def complete(self) -> list[FrozenTrial]:
        """The trials that have values."""
        return self._in_state("COMPLETE")

    @cached_property
    def pruned(self) -> list[FrozenTrial]:
        """The trials that were stopped early."""
        return self._in_state("PRUNED")

    @cached_property
    def failed(self) -> list[FrozenTrial]:
        """The trials that ended with an error, or whose process died."""
        return self._in_state("FAIL")

    def _in_state(self, name: str) -> list[FrozenTrial]:
        return [trial for trial in self.trials if trial.state.name == name]

    @property
    def failures(self) -> Mapping[str, int]:
        """Number of failed trials by their `failure`."""
        return Counter(str(trial.user_attrs.get("failure", "unknown")) for trial in self.failed)

    @cached_property
    def default(self) -> FrozenTrial | None:
        """The trial of the benchmark as written; None if it did not finish or is not in the space."""
        return next((trial for trial in self.complete if self._origin(trial).get("default")), None)

    def _origin(self, trial: FrozenTrial) -> Mapping[str, Any]:
        """Find where a trial's parameters came from, also if its process died and it was tried again."""
        origin: Mapping[str, Any] = trial.user_attrs.get("origin", {})
        return self._origin(self.trials[origin["retry_of"]]) if "retry_of" in origin else origin

    @cached_property
    def best(self) -> list[FrozenTrial]:
        """The best trial, or with several objectives those that no other trial beats in every one."""
        if not self.complete:
            return []
        if len(self.record.objectives) == 1:
            return self.ranked(0)[:1]
        numbers = {trial.number for trial in self._study.best_trials}
        return [trial for trial in self.ranked(0) if trial.number in numbers]

    def ranked(self, objective: int) -> list[FrozenTrial]:
        """Sort the complete trials by an objective, best first; of equal ones, the earlier comes first."""
        return sorted(self.complete, key=lambda trial: -self._sign(objective) * trial.values[objective])

    def improvements(self, objective: int) -> list[tuple[int, float]]:
        """List number and value of each complete trial that was better in an objective than all earlier ones."""
        found: list[tuple[int, float]] = []
        for trial in self.complete:
            value = trial.values[objective]
            if not found or self._sign(objective) * (value - found[-1][1]) > 0:
                found.append((trial.number, value))
        return found

    def _sign(self, objective: int) -> float:
        return 1.0 if self.record.objectives[objective].direction == "maximize" else -1.0

    @cached_property
    def axes(self) -> Mapping[str, Axis]:
        """The axis of each parameter that a complete trial had: first those of the space in order, then others."""
        distributions: dict[str, list[Any]] = {name: [] for name in self.record.space}
        for trial in self.complete:
            for name, distribution in trial.distributions.items():
                if distribution not in distributions.setdefault(name, []):
                    distributions[name].append(distribution)
        return {name: axis_of(found, partial(self.written, name)) for name, found in distributions.items() if found}

    def value_of(self, path: str, drawn: Any) -> Any:
        """Return the value for what the study holds; it holds a whole component as its JSON text."""
        choices = self.record.space.get(path, {}).get("categorical") or ()
        whole = (choice for choice in choices if isinstance(choice, Mapping | list))
        return next((choice for choice in whole if json.dumps(choice, sort_keys=True) == drawn), drawn)

    def written(self, path: str, drawn: Any) -> str:
        """Format a parameter's value for tables and axes."""
        value = self.value_of(path, drawn)
        return named(value) if isinstance(value, Mapping) else flow(value)

    @cached_property
    def short(self) -> Mapping[str, str]:
        """The name of each parameter in figures and tables."""
        return short_names(list(dict.fromkeys([*self.record.space, *self.axes, *(self.record.rungs or {})])))

    @property
    def rungs(self) -> tuple[str, tuple[str, ...]] | None:
        """What grows from rung to rung, and its formatted value at each; None in a sweep without rungs."""
        if self.record.rungs is None:
            return None
        [(path, values)] = self.record.rungs.items()
        return self.short[path], tuple(flow(value) for value in values)

    @property
    def best_share(self) -> float:
        """The share of complete trials that counts as the best of them: a tenth, and at least five trials."""
        return max(_BEST_SHARE, _BEST_FOR_IMPORTANCE / len(self.complete))

    def importances(self, objective: int) -> Mapping[str, float]:
        """Compute what sets the best trials apart from all, as shares that sum to 1, the largest first.

        The method is PED-ANOVA (Watanabe et al., IJCAI 2023, arXiv 2304.10255), with conditional parameters as in
        arXiv 2601.20800. It uses no random numbers, so the same study gives the same shares.

        Raises:
            ValueError: Fewer than `LEAST_FOR_IMPORTANCE` trials are complete.
        """
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        if len(self.complete) < LEAST_FOR_IMPORTANCE:
            raise ValueError(f"{len(self.complete)} complete trials are too few for importances")
        with warnings.catch_warnings():
            # Optuna warns that lower targets count as better, which the sign takes into account.
            warnings.filterwarnings("ignore", message=".*computes the importances of params to achieve low.*")
            return get_param_importances(
                self._study,
                evaluator=PedAnovaImportanceEvaluator(target_quantile=self.best_share),
                target=lambda trial: -self._sign(objective) * float(trial.values[objective]),
            )

    def title(self, objective: int) -> str:
        """Return an objective's name with an arrow to its better end, and the cases that it was measured on."""
        label = self.label(objective)
        return f"{label[0].upper()}{label[1:]}{_ARROWS[self.record.objectives[objective].direction]}, {TUNING}"

    def label(self, objective: int) -> str:
        """Return an objective's name for a reader."""
        record = self.record.objectives[objective]
        return objective_label(record) if record.name == record.of else wording.words(record.name)

    def number(self, objective: int, value: float) -> str:
        """Format an objective's value as everywhere in the report."""
        return written_value(self.record.objectives[objective], value)


def named(values: Mapping[str, Any]) -> str:
    """Write a component, or the like, as its name and parameters."""
    return ", ".join(str(value) if key == "name" else f"{key} {flow(value)}" for key, value in values.items())


def flow(value: Any) -> str:
    """Write a value as YAML in one line, floats with four significant digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return value
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).removesuffix("\n").removesuffix("\n...")


def traits_of_objective(objective: ObjectiveRecord) -> MetricTraits:
    """Return what the metric of an objective declares; an objective names it with its variant and calibration."""
    metric, _ = metric_and_calibration(objective.of)
    return MetricUse.registered(metric.partition(":")[0], {}).traits


def objective_label(objective: ObjectiveRecord) -> str:
    """Return a reader's name for what an objective measures."""
    if objective.kind == "cost":
        return wording.words(objective.of)
    return wording.metric_label(objective.of, traits_of_objective(objective))


def written_value(objective: ObjectiveRecord, value: float) -> str:
    """Format a value of an objective: a metric's as in the run report, a cost's by its unit."""
    if objective.kind != "cost":
        return wording.number(value, traits_of_objective(objective))
    return wording.duration(value) if objective.of == "seconds" else f"{value:,.0f}"


def stages_of(trial: FrozenTrial) -> tuple[int, int]:
    """Count the stages that a trial computed and reused."""
    kinds = trial.user_attrs.get("stages", {}).values()
    return sum(kind["computed"] for kind in kinds), sum(kind["reused"] for kind in kinds)


def seconds_of(trial: FrozenTrial) -> float:
    """Return how many seconds a trial took; NaN for one that has not ended."""
    if "seconds" in trial.user_attrs:
        return float(trial.user_attrs["seconds"])
    return math.nan if trial.duration is None else trial.duration.total_seconds()
