"""The rungs of a sweep: what grows from one rung of a trial to the next, and where the pruner may stop it."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from eagbench.config.loading import LoadedBenchmark
from eagbench.config.yaml_source import Source, set_value
from eagbench.errors import UserError
from eagbench.registry.plugins import Registry
from eagbench.sweep.defaults import value_at
from eagbench.sweep.division import NestedSplit
from eagbench.sweep.file import LoadedSweep
from eagbench.sweep.objectives import Objective, swept_method
from eagbench.sweep.space import Space

TRAINING_SHARE = "training_share"
LAST = -1


@dataclass(frozen=True, slots=True)
class Rungs:
    """What grows while a trial climbs.

    Attributes:
        path: `training_share`, or a path of the benchmark.
        values: Its value at each rung, rising. A trial's result is that of the last rung.
        place: Their place in the user's file.
    """

    path: str
    values: tuple[float, ...]
    place: str

    def put(self, source: Source, rung: int) -> None:
        """Put a rung's value into a benchmark's tree; `training_share` is not part of the tree.

        Raises:
            UserError: The path leads through something that does not exist.
        """
        if self.path != TRAINING_SHARE:
            set_value(source, self.path, self.values[rung], self.place)

    def divided(self, split: NestedSplit, rung: int) -> NestedSplit:
        """Return the division of patients at a rung."""
        return replace(split, training_share=self.values[rung]) if self.path == TRAINING_SHARE else split

    def check_written(self, benchmark: LoadedBenchmark, registry: Registry) -> None:
        """Check that the benchmark as written holds the last rung's value, and so can be a trial.

        Raises:
            ValueError: It holds another value, which the message names.
        """
        if self.path == TRAINING_SHARE:
            return
        try:
            written = value_at(self.path, benchmark, registry)
        except LookupError as error:
            raise ValueError(f"{self.path} has no default value") from error
        if written != self.values[LAST]:
            raise ValueError(f"{self.path}: {written!r} is not {self.values[LAST]!r}, the last rung")


def resolve_rungs(
    loaded: LoadedSweep, benchmark: LoadedBenchmark, space: Space, objectives: tuple[Objective, ...]
) -> Rungs | None:
    """Resolve the sweep's rungs; return None if it has none.

    Planning with their values shows later whether a parameter accepts them.

    Raises:
        UserError: The rungs are invalid, or could have no effect.
    """
    written = loaded.sweep.rungs
    if written is None:
        return None
    if len(written) != 1:
        raise UserError(
            f"one thing grows from rung to rung, not {len(written)}",
            where=loaded.place("rungs"),
            hint=f"give {TRAINING_SHARE}, or one path into `methods`",
        )
    [(path, values)] = written.items()
    where = loaded.place("rungs", path)
    if len(objectives) > 1:
        raise UserError(
            "rungs are there to be pruned on, and Optuna prunes with one objective only",
            where=where,
            hint="leave `rungs` out, or optimise one number",
        )
    if loaded.sweep.pruner.name == "NopPruner":
        raise UserError(
            "rungs without a pruner only cost: every trial would climb all of them, and its last rung alone counts",
            where=where,
            hint="add `pruner: {name: SuccessiveHalvingPruner}`, or leave `rungs` out",
        )
    _check_values(path, values, where)
    if path == TRAINING_SHARE:
        if not (values[0] > 0 and values[LAST] == 1):
            raise UserError(
                f"'{TRAINING_SHARE}' rises from above 0 to 1, all training patients: {_listed(values)} does not",
                where=where,
            )
    else:
        _check_path(path, where, benchmark, space, objectives[0])
    return Rungs(path, values, where)


def _check_values(path: str, values: tuple[Any, ...], where: str) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"'{path}': the value of a rung is a number, not {value!r}", where=where)
    if len(values) < 2:
        raise UserError(f"'{path}' needs two rungs at least", where=where)
    if any(one >= other for one, other in pairwise(values)):
        raise UserError(f"'{path}' does not rise from rung to rung: {_listed(values)}", where=where)


def _check_path(path: str, where: str, benchmark: LoadedBenchmark, space: Space, objective: Objective) -> None:
    root, *rest = path.split(".")
    if root != "methods" or len(rest) < 2 or not all(rest):
        near = difflib.get_close_matches(path, [TRAINING_SHARE], n=1) or difflib.get_close_matches(root, ["methods"])
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(
            f"'{path}' can't grow from rung to rung",
            where=where,
            hint=f"{hint}give {TRAINING_SHARE}, or a method's number, for example methods.lightgbm.n_estimators",
        )
    for parameter in space:
        if _same_path(path, parameter.path, benchmark):
            raise UserError(
                f"'{path}' is in the space, and can't grow from rung to rung as well",
                where=where,
                hint="take it out of `space` or out of `rungs`",
            )
    method = swept_method(path, benchmark)
    if method is not None and method != objective.record.method:
        raise UserError(
            f"'{path}' grows from rung to rung, and the objective is measured on '{objective.record.method}'",
            where=where,
            hint=f"give a path into methods.{objective.record.method}",
        )


def _same_path(one: str, other: str, benchmark: LoadedBenchmark) -> bool:
    """Check whether two paths lead to the same place; a path names a method by its label or its number."""
    parts = [path.split(".") for path in (one, other)]
    methods = [swept_method(path, benchmark) or path for path in (one, other)]
    return methods[0] == methods[1] and parts[0][2:] == parts[1][2:] and parts[0][0] == parts[1][0]


def _listed(values: tuple[Any, ...]) -> str:
    return "[" + ", ".join(f"{value!r}" for value in values) + "]"
