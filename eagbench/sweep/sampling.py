"""Optuna's samplers and pruners by their own names, their parameters checked before the first trial."""

from __future__ import annotations

import copy
import difflib
import inspect
import re
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from eagbench.contracts.stages import content_hash
from eagbench.errors import UserError
from eagbench.sweep.file import LoadedSweep

# Said of much that Optuna has had for years, and nothing that a user could act on.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
optuna.logging.set_verbosity(optuna.logging.WARNING)

# Its points are one sequence, which all processes must draw from the same seed.
_ONE_SEQUENCE = "QMCSampler"
_HALVING = "SuccessiveHalvingPruner"
# Pruners that a trial's rungs say nothing to, with the reason.
_NOT_ON_RUNGS = {
    "WilcoxonPruner": "pairs the single values of seeds and folds, and a rung has their mean",
    "PatientPruner": "waits for one training to stop improving, and each rung trains anew",
    "HyperbandPruner": "chooses rungs of its own",
}


def make_sampler(loaded: LoadedSweep, number: int = 0) -> BaseSampler:
    """Make the sweep's sampler for one trial.

    Each trial has its own sampler. The seed depends on the sweep's seed and the trial's number. So a sweep that is
    continued, or run by several processes, does not draw the same points again.

    Args:
        loaded: The sweep.
        number: The trial's number.

    Raises:
        UserError: Optuna has no such sampler, or it does not take these parameters.
    """
    name, params = loaded.sweep.sampler.name, dict(loaded.sweep.sampler.params)
    component = _find(optuna.samplers, BaseSampler, "sampler", name, loaded.place("sampler", "name"))
    if "seed" in inspect.signature(component).parameters and isinstance(params.get("seed", 0), int):
        seed = params.get("seed", 0)
        params["seed"] = seed if name == _ONE_SEQUENCE else int(content_hash([seed, number])[:8], 16)
    made: BaseSampler = _make(component, params, loaded, ("sampler",))
    return made


def make_pruner(loaded: LoadedSweep) -> BasePruner:
    """Make the sweep's pruner.

    Raises:
        UserError: Optuna has no such pruner, it does not take these parameters, there are several objectives, or it
            does not work with the sweep's rungs.
    """
    name, params = loaded.sweep.pruner.name, dict(loaded.sweep.pruner.params)
    where = loaded.place("pruner", "name")
    component = _find(optuna.pruners, BasePruner, "pruner", name, where)
    if len(loaded.sweep.objectives) > 1 and name != "NopPruner":
        raise UserError(
            "Optuna prunes with one objective only", where=where, hint="leave `pruner` out, or optimise one number"
        )
    has_rungs = loaded.sweep.rungs is not None
    if has_rungs and name in _NOT_ON_RUNGS:
        raise UserError(
            f"{name} {_NOT_ON_RUNGS[name]}",
            where=where,
            hint=f"take {_HALVING} or MedianPruner, or leave `rungs` out",
        )
    if has_rungs and name == _HALVING:
        # The first rung is what a trial gets at least; there is nothing to be estimated.
        params.setdefault("min_resource", 1)
        default = inspect.signature(component).parameters["reduction_factor"].default
        return HalvingOnRungs(_make(component, params, loaded, ("pruner",)), params.get("reduction_factor", default))
    made: BasePruner = _make(component, params, loaded, ("pruner",))
    return made


class HalvingOnRungs(BasePruner):
    """Lets successive halving decide after every rung.

    Optuna's pruner reads a step as the resource that a trial has used. It decides when the step reaches `min_resource`
    times `reduction_factor` to the power 0, 1, 2 ..., and never at step 0. Rungs are reported at the steps 0, 1, 2 ...;
    this class turns them into these powers.

    Args:
        pruner: Optuna's pruner.
        reduction_factor: Its `reduction_factor`.
    """

    def __init__(self, pruner: BasePruner, reduction_factor: int) -> None:
        self._pruner, self._factor = pruner, reduction_factor

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Decide whether to stop the trial at its last rung so far."""
        seen = copy.copy(trial)
        seen.intermediate_values = {self._factor**rung: value for rung, value in trial.intermediate_values.items()}
        return self._pruner.prune(study, seen)


def _find(module: ModuleType, base: type, kind: str, name: str, where: str) -> type:
    choices = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and not key.startswith("Base")
    }
    if name not in choices:
        near = difflib.get_close_matches(name, choices, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(
            f"Optuna has no {kind} '{name}'", where=where, hint=f"{hint}choices: {', '.join(sorted(choices))}"
        )
    found: type = choices[name]
    return found


def _make(component: type, params: Mapping[str, Any], loaded: LoadedSweep, path: tuple[str, ...]) -> Any:
    accepted = {
        name: parameter
        for name, parameter in inspect.signature(component).parameters.items()
        if "Callable" not in str(parameter.annotation)  # YAML has no functions
    }
    given = dict(params)
    for name, value in params.items():
        where = loaded.place(*path, name)
        if name not in accepted:
            near = difflib.get_close_matches(name, accepted, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise UserError(
                f"{component.__name__} has no parameter '{name}'",
                where=where,
                hint=f"{hint}choices: {', '.join(sorted(accepted)) or 'none'}",
            )
        annotation = str(accepted[name].annotation)
        for module, base, kind in ((optuna.samplers, BaseSampler, "sampler"), (optuna.pruners, BasePruner, "pruner")):
            if base.__name__ in annotation and value is not None:
                inner = {"name": value} if isinstance(value, str) else dict(value)
                inner_name = str(inner.pop("name", ""))
                inner_component = _find(module, base, kind, inner_name, where)
                given[name] = _make(inner_component, inner, loaded, (*path, name))
                break
        else:
            if not _fits(value, annotation):
                raise UserError(f"{component.__name__} takes '{name}: {annotation}', not {value!r}", where=where)
    missing = [
        name for name, parameter in accepted.items() if parameter.default is parameter.empty and name not in given
    ]
    if missing:
        raise UserError(f"{component.__name__} needs '{missing[0]}'", where=loaded.place(*path))
    try:
        return component(**given)
    except (TypeError, ValueError) as error:
        raise UserError(f"{component.__name__}: {error}", where=loaded.place(*path)) from error


def _fits(value: Any, annotation: str) -> bool:
    """Check whether a plain value fits Optuna's annotation, a text such as `int | None`."""
    allowed = set(re.findall(r"\w+", annotation))
    names = {type(None): {"None"}, bool: {"bool"}, int: {"int", "float"}, float: {"float"}, str: {"str"}}
    wanted = names.get(type(value), {"Mapping", "dict", "Sequence", "list"})
    return bool(allowed & wanted)
