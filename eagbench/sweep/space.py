"""The search space: which paths of a benchmark vary, over which values, and when."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from eagbench.config.yaml_source import Source, item_label, set_value
from eagbench.errors import UserError
from eagbench.sweep.file import ROUNDING, DistributionSpec, LoadedSweep

Values = Mapping[str, Any]  # by path

# What a method is made of. Everything else of a benchmark says on what, and how, it is judged.
_MAY_VARY = ("methods", "policy", "data", "record_text", "answer")
_SAME_DATA = ("name", "root", "task")


@dataclass(frozen=True)
class Parameter:
    """One path and where its values come from.

    Attributes:
        path: The path, which is the parameter's name in the study.
        spec: Its distribution, as written.
        place: The distribution's place in the user's file.
    """

    path: str
    spec: DistributionSpec
    place: str

    @cached_property
    def distribution(self) -> BaseDistribution:
        """Its distribution for Optuna, where a whole component is given by its JSON text."""
        spec = self.spec
        if spec.integer is not None:
            return IntDistribution(*spec.integer, log=spec.log, step=int(spec.step or 1))
        if spec.real is not None:
            return FloatDistribution(*spec.real, log=spec.log, step=spec.step)
        return CategoricalDistribution(list(self.choices))

    @cached_property
    def choices(self) -> dict[Any, Any]:
        """Each value of a categorical parameter by its name in the study."""
        return {_choice_name(value): value for value in self.spec.categorical or ()}

    def suggest(self, trial: optuna.Trial) -> Any:
        """Draw a value from a trial."""
        spec = self.spec
        if spec.integer is not None:
            return trial.suggest_int(self.path, *spec.integer, log=spec.log, step=int(spec.step or 1))
        if spec.real is not None:
            return trial.suggest_float(self.path, *spec.real, log=spec.log, step=spec.step)
        return self.choices[trial.suggest_categorical(self.path, list(self.choices))]

    def value_of(self, drawn: Any) -> Any:
        """Return the value for what the study holds."""
        return self.choices[drawn] if self.spec.categorical is not None else drawn

    def drawn_of(self, value: Any) -> Any:
        """Return what the study would hold for a value.

        Raises:
            ValueError: The value is not in the distribution.
        """
        if self.spec.categorical is not None:
            for drawn, choice in self.choices.items():
                if is_same(choice, value):
                    return drawn
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert isinstance(self.distribution, IntDistribution | FloatDistribution)
            low, high, step = self.distribution.low, self.distribution.high, self.distribution.step
            steps = 0.0 if step is None else (value - low) / step
            if low <= value <= high and abs(steps - round(steps)) < ROUNDING:
                return int(value) if isinstance(self.distribution, IntDistribution) else float(value)
        raise ValueError(f"{value!r} is not in {self.described()}")

    def described(self) -> str:
        """Describe the distribution in a few words."""
        if self.spec.categorical is not None:
            return "[" + ", ".join(str(name) for name in self.choices) + "]"
        low, high = self.spec.integer or self.spec.real or (0, 0)
        step = f" in steps of {self.spec.step:g}" if self.spec.step is not None else ""
        return f"[{low:g}, {high:g}]{step}"

    def extremes(self) -> list[Any]:
        """List the values that decide whether all are valid: both ends, or every choice."""
        if isinstance(self.distribution, CategoricalDistribution):
            return list(self.choices.values())
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return [self.distribution.low, self.distribution.high]


def _choice_name(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value, sort_keys=True)


def is_same(one: Any, other: Any) -> bool:
    """Check whether two values are equal; `lightgbm` equals `{name: lightgbm}`, and 1 does not equal true."""
    one, other = (
        value["name"] if isinstance(value, Mapping) and [*value] == ["name"] else value for value in (one, other)
    )
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


class Space:
    """All parameters, each after those that it depends on.

    Args:
        loaded: The sweep.

    Raises:
        UserError: A path may not vary, a condition names no other path of the space, or conditions form a cycle.
    """

    def __init__(self, loaded: LoadedSweep) -> None:
        written = {
            path: Parameter(path, spec, loaded.place("space", path, spec.key))
            for path, spec in loaded.sweep.space.items()
        }
        for path, parameter in written.items():
            where = loaded.place("space", path)
            _check_path(path, where)
            names = [_choice_name(value) for value in parameter.spec.categorical or ()]
            if len(names) != len({json.dumps(name) for name in names}):
                raise UserError(f"a value of '{path}' appears here twice", where=parameter.place)
            for other, wanted in parameter.spec.when.items():
                _check_condition(written, path, other, wanted, loaded.place("space", path, "when", other))
        graph = {path: list(parameter.spec.when) for path, parameter in written.items()}
        try:
            self.parameters = tuple(written[path] for path in TopologicalSorter(graph).static_order())
        except CycleError as error:
            raise UserError(
                f"these conditions go round in a circle: {' -> '.join(error.args[1])}",
                where=loaded.place("space", error.args[1][0]),
            ) from error
        self._by_path = written

    def __getitem__(self, path: str) -> Parameter:
        return self._by_path[path]

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def draw(self, suggest: Callable[[Parameter], Any]) -> dict[str, Any]:
        """Draw a value for each parameter whose conditions hold."""
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if self.is_active(parameter, values):
                values[parameter.path] = suggest(parameter)
        return values

    def is_active(self, parameter: Parameter, values: Values) -> bool:
        """Check whether a parameter's conditions hold."""
        return all(other in values and _matches(values[other], wanted) for other, wanted in parameter.spec.when.items())

    def values_of(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values for a trial's parameters in the study."""
        return {path: self[path].value_of(value) for path, value in drawn.items()}

    def put(self, source: Source, values: Values) -> Source:
        """Put values into a copy of a benchmark's tree, a component itself before the values within it.

        Raises:
            UserError: A path leads through something that does not exist.
        """
        tree = copy.deepcopy(source.tree)
        changed = Source(tree, dict(source.places))
        for path in sorted(values, key=lambda p: p.count(".")):
            set_value(changed, path, _with_label(tree, path, copy.deepcopy(values[path])), self[path].place)
        return changed

    def probes(self) -> Iterator[dict[str, Any]]:
        """Yield values to check before the first trial: each end and choice of every parameter, one at a time."""
        for parameter in self.parameters:
            needed = self._conditions_of(parameter)
            for value in parameter.extremes():
                yield {**needed, parameter.path: value}

    def _conditions_of(self, parameter: Parameter) -> dict[str, Any]:
        """Find values of other parameters under which a parameter is drawn."""
        values: dict[str, Any] = {}
        for other, wanted in parameter.spec.when.items():
            values |= self._conditions_of(self[other])
            values[other] = next(v for v in _possible(self[other], wanted) if _matches(v, wanted))
        return values


def _check_path(path: str, where: str) -> None:
    root, *rest = path.split(".")
    if root not in _MAY_VARY:
        near = difflib.get_close_matches(root, _MAY_VARY, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(
            f"'{path}' can't vary: a sweep varies what a method works with, and not on what or how it is judged",
            where=where,
            hint=f"{hint}paths begin with: {', '.join(_MAY_VARY)}",
        )
    if root == "data" and (not rest or rest[0] in _SAME_DATA):
        raise UserError(f"'{path}' can't vary: trials on different data can't be compared", where=where)
    if not rest or (root == "methods" and not all(rest)):
        raise UserError(
            f"'{path}' is not a path to a value", where=where, hint="for example methods.lightgbm.num_leaves"
        )


def _check_condition(written: Mapping[str, Parameter], path: str, other: str, wanted: Any, where: str) -> None:
    if other not in written or other == path:
        near = difflib.get_close_matches(other, [p for p in written if p != path], n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(
            f"`when` names '{other}', which is not in the space", where=where, hint=f"{hint}".strip() or None
        )
    if not any(_matches(value, wanted) for value in _possible(written[other], wanted)):
        raise UserError(f"'{other}' never is {wanted!r}", where=where, hint=f"its values: {written[other].described()}")


def _possible(parameter: Parameter, wanted: Any) -> list[Any]:
    """List the values of a parameter that may match the wanted ones."""
    if parameter.spec.categorical is not None:
        return list(parameter.choices.values())
    possible = []
    for value in wanted if isinstance(wanted, list) else [wanted]:
        try:
            possible.append(parameter.drawn_of(value))
        except ValueError:
            continue
    return possible


def _matches(value: Any, wanted: Any) -> bool:
    """Check whether a value is the wanted one, or one of several; a component also matches by its name."""
    options = wanted if isinstance(wanted, list) else [wanted]
    name = value.get("name") if isinstance(value, Mapping) else None
    return any(is_same(value, option) or (name is not None and is_same(name, option)) for option in options)


def _with_label(tree: Mapping[str, Any], path: str, value: Any) -> Any:
    """Add the old label to a method that replaces another; objectives and paths refer to it by this label."""
    root, *rest = path.split(".")
    if root != "methods" or len(rest) != 1:
        return value
    labels = [item_label(item) for item in tree["methods"]]
    label = labels[int(rest[0])] if rest[0] not in labels and rest[0].isdigit() else rest[0]
    item = {"name": value} if isinstance(value, str) else value
    return {"as": label, **item} if isinstance(item, Mapping) else value
