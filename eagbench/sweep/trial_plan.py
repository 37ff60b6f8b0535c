"""A trial as an ordinary plan: the benchmark with the trial's values, one seed, one fold, and what objectives read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from eagbench.config.loading import validate_benchmark
from eagbench.config.yaml_source import Source, item_label
from eagbench.contracts.traits import MetricTraits, traits_of
from eagbench.errors import UserError
from eagbench.execution.executors.local import Local
from eagbench.execution.private_words import Discreet, PrivateWords
from eagbench.execution.progress import Reporter
from eagbench.execution.runner import SharedStageError, run_plan
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.plugins import Registry
from eagbench.sweep.division import NestedSplit
from eagbench.sweep.objectives import Objective, conditions_of
from eagbench.sweep.rungs import LAST, Rungs
from eagbench.sweep.space import Space, Values

# Trials are not compared by intervals; the fewest resamples that a benchmark takes.
_RESAMPLES = 100


class TrialFailure(Exception):
    """A trial's stage failed.

    Args:
        by: `user` for a problem that the user can fix, `bug` for any other.
        reason: The reason, in a line or two.
        details: The traceback of a bug.
    """

    def __init__(self, by: str, reason: str, details: str | None = None) -> None:
        self.by, self.reason, self.details = by, reason, details
        super().__init__(reason)


@dataclass(slots=True)
class StageCount:
    """Fingerprints of the stages that a trial computed and reused, by kind."""

    computed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    reused: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, kind: str, fingerprint: str, status: str) -> None:
        """Count a stage; one that the trial computed itself and meets again does not count as reused."""
        if status == "computed":
            self.computed[kind].add(fingerprint)
        elif status == "reused" and fingerprint not in self.computed[kind]:
            self.reused[kind].add(fingerprint)

    def numbers(self) -> dict[str, dict[str, int]]:
        """Return the counts by kind."""
        return {
            kind: {"computed": len(self.computed[kind]), "reused": len(self.reused[kind])}
            for kind in sorted({*self.computed, *self.reused})
            if self.computed[kind] or self.reused[kind]
        }


@dataclass(frozen=True, slots=True)
class TrialPlanner:
    """Makes and runs the plans of trials.

    Attributes:
        source: The benchmark's tree, without any trial's values.
        profile: The profile that was applied to it.
        space: The search space.
        objectives: What is measured.
        registry: The components.
        store: The store of the stages.
        rungs: What grows while a trial climbs; None if each trial is measured once.
        words: Where the words of errors go that may repeat a record; None for open data.
    """

    source: Source
    profile: str | None
    space: Space
    objectives: tuple[Objective, ...]
    registry: Registry
    store: Store
    rungs: Rungs | None = None
    words: PrivateWords | None = None

    def configured(self, values: Values, rung: int = LAST) -> Source:
        """Return the benchmark with a trial's values, at a rung.

        Raises:
            UserError: A path leads through something that does not exist.
        """
        source = self.space.put(self.source, values)
        if self.rungs is not None:
            self.rungs.put(source, rung)
        return source

    def plan(self, values: Values, seed: int, split: NestedSplit, rung: int = LAST) -> Plan:
        """Plan one seed and fold of a trial, at a rung.

        Raises:
            UserError: A value does not fit, or an objective's condition means nothing to its method.
        """
        source = self.configured(values, rung)
        if self.rungs is not None:
            split = self.rungs.divided(split, rung)
        _reduce(source, self.objectives, seed, self.registry)
        plan = make_plan(validate_benchmark(source, self.profile), self.registry, self.store, split=split)
        for objective in self.objectives:
            if objective.record.kind == "degradation" and objective.cell(plan, objective.record).score is None:
                raise UserError(
                    f"the condition '{objective.record.condition}' means nothing to the method "
                    f"'{objective.record.method}', by what it reads",
                    where=objective.place,
                )
        return plan

    def measure(
        self,
        values: Values,
        seed: int,
        split: NestedSplit,
        counts: StageCount,
        reporter: Reporter,
        rung: int = LAST,
    ) -> list[float]:
        """Run one seed and fold of a trial, at a rung.

        Returns:
            One value per objective.

        Raises:
            TrialFailure: A stage failed, or a number is undefined.
        """
        try:
            plan = self.plan(values, seed, split, rung)
            executor = None if self.words is None else Discreet(Local(Local.Params()), self.words)
            result = run_plan(plan, self.store, reporter, executor=executor)
            for node in plan.nodes:
                outcome = result.outcomes[node.fingerprint]
                counts.add(node.kind, node.fingerprint, outcome.status)
                if outcome.status == "failed":
                    by = "bug" if outcome.error is None else "user"
                    raise TrialFailure(by, f"{node.kind} '{node.label}': {outcome.reason}", outcome.details)
            return [objective.value(plan, result, self.store) for objective in self.objectives]
        except UserError as error:
            raise TrialFailure("user", error.message) from error
        except SharedStageError as error:
            raise TrialFailure("bug", str(error).partition("\n")[0], str(error)) from error


def _reduce(source: Source, objectives: Sequence[Objective], seed: int, registry: Registry) -> None:
    """Reduce a benchmark to what objectives read."""
    tree = source.tree
    _keep_methods(source, {objective.record.method for objective in objectives})
    metrics = {
        item_label(objective.metric): objective.metric for objective in objectives if objective.metric is not None
    }
    # A benchmark has a metric; where only costs are wanted any will do.
    tree["metrics"] = list(metrics.values()) or tree["metrics"][:1]
    tree["conditions"] = conditions_of(objectives)
    tree["seeds"] = [seed]
    tree["intervals"] = {"resamples": _RESAMPLES}
    for key in ("trackers", "recalibrate", "subgroups"):
        tree.pop(key, None)
    tree["comparisons"] = None  # without the key methods would be compared
    components = [registry.get("metric", item_label(metric)).component for metric in tree["metrics"]]
    if all(traits_of(component, MetricTraits).reads_probability for component in components):
        tree.pop("reference_expert", None)  # the others compare with it


def _keep_methods(source: Source, labels: Collection[str]) -> None:
    """Remove all methods without these labels, and move the places of the others with them."""
    kept = [i for i, item in enumerate(source.tree["methods"]) if item_label(item) in labels]
    source.tree["methods"] = [source.tree["methods"][i] for i in kept]
    places = {path: place for path, place in source.places.items() if path[:1] != ("methods",) or len(path) == 1}
    for path, place in source.places.items():
        if path[:1] == ("methods",) and len(path) > 1 and path[1] in kept:
            places["methods", kept.index(int(path[1])), *path[2:]] = place
    source.places = places
