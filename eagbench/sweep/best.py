"""The best trial as a runnable benchmark, and a benchmark that compares it with the default on held-out cases."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from eagbench.config.secrets import masked
from eagbench.config.yaml_source import item_label
from eagbench.errors import UserError
from eagbench.execution.whole_files import write_text
from eagbench.sweep.claims import finished
from eagbench.sweep.folder import EVALUATION
from eagbench.sweep.objectives import conditions_of, swept_method
from eagbench.sweep.session import Session
from eagbench.sweep.space import Parameter

DEFAULT, TUNED = "default", "tuned"
_LOOKS = "evaluations"


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the best complete trial, or the Pareto set by number; an empty list if no trial is complete."""
    if not any(trial.state == TrialState.COMPLETE for trial in study.get_trials(deepcopy=False)):
        return []
    if len(study.directions) == 1:
        return [study.best_trial]
    return sorted(study.best_trials, key=lambda trial: trial.number)


def write_best(session: Session, best: Sequence[FrozenTrial]) -> list[Path]:
    """Write each best trial as a benchmark: `best.yaml`, or `best_1.yaml` and so on for a Pareto set."""
    for old in session.folder.glob("best*.yaml"):
        old.unlink()
    several = len(session.record.objectives) > 1
    paths = []
    for i, trial in enumerate(best, start=1):
        tree = _tuned(session, trial)
        tree["name"] = f"{session.record.benchmark_name}_{session.record.name}_best{f'_{i}' if several else ''}"
        path = session.folder / (f"best_{i}.yaml" if several else "best.yaml")
        write_text(path, _head(session, trial) + _yaml(tree))
        paths.append(path)
    return paths


def check_one_method(session: Session) -> str:
    """Return the label of the one method that all swept paths lead into.

    Only then can the method be compared with itself, as written and as tuned.

    Raises:
        UserError: Paths outside one method vary.
    """
    methods: dict[str | None, Parameter] = {}
    for parameter in session.planner.space:
        method = swept_method(parameter.path, session.benchmark)
        methods.setdefault(method, parameter)
    if None in methods or len(methods) > 1:
        odd = methods[None] if None in methods else list(methods.values())[1]
        raise UserError(
            f"--evaluate-best compares a method with itself, as written and as tuned; '{odd.path}' is not in it",
            where=odd.place,
            hint="leave --evaluate-best out, then run best.yaml and the benchmark, each with `eagbench run`",
        )
    [label] = methods
    assert label is not None
    return label


def write_evaluation(session: Session, best: Sequence[FrozenTrial]) -> Path:
    """Write the benchmark that evaluates the best trials on held-out cases, next to the default configuration.

    With one objective, it tests the claim of the method `tuned`. A Pareto set has several tuned methods, `tuned_1` and
    so on. `default` is then compared with each, so that all these tests are corrected together.

    Raises:
        UserError: The held-out cases were evaluated before, for other trials.
    """
    label = check_one_method(session)
    n_trials = finished(session.study.get_trials(deepcopy=False))
    _look_once(session, best, n_trials)
    tree = copy.deepcopy(session.planner.source.tree)
    tree.pop("profiles", None)
    labels = [TUNED] if len(session.record.objectives) == 1 else [f"{TUNED}_{i}" for i in range(1, len(best) + 1)]
    methods = [_method(tree, label, DEFAULT)]
    methods += [_method(_tuned(session, trial), label, name) for name, trial in zip(labels, best, strict=True)]
    metrics = {item_label(metric): metric for metric in tree["metrics"]}
    wanted = [objective.metric for objective in session.planner.objectives if objective.metric is not None]
    metrics |= {item_label(metric): metric for metric in wanted if item_label(metric) not in metrics}
    numbers = ", ".join(str(trial.number) for trial in best)
    tree |= {
        "name": f"{session.record.benchmark_name}_{session.record.name}_evaluation",
        "description": (
            f"The configuration as written and trial {numbers} of the sweep '{session.record.name}', the best of "
            f"{n_trials} finished trials, once on held-out cases that no trial has seen."
        ),
        "methods": methods,
        "metrics": list(metrics.values()),
        "conditions": _conditions(session, tree.get("conditions", ["clean"])),
        "comparisons": {
            "method": TUNED if len(session.record.objectives) == 1 else DEFAULT,
            "metric": item_label(wanted[0]) if wanted else item_label(tree["metrics"][0]),
        },
    }
    path = session.folder / f"{EVALUATION}.yaml"
    write_text(path, _head(session, best[0]) + _yaml(tree))
    return path


def _look_once(session: Session, best: Sequence[FrozenTrial], n_trials: int) -> None:
    numbers = [trial.number for trial in best]
    looks = session.study.user_attrs.get(_LOOKS, [])
    if looks and looks[-1]["trials"] != numbers:
        raise UserError(
            f"the held-out cases were evaluated after {looks[-1]['finished']} trials already, for trial "
            f"{', '.join(map(str, looks[-1]['trials']))}; to choose again and look again would tune on them",
            where=str(session.folder),
            hint="report that evaluation, or begin a new sweep on another split",
        )
    if not looks:
        session.study.set_user_attr(_LOOKS, [{"trials": numbers, "finished": n_trials}])


def _tuned(session: Session, trial: FrozenTrial) -> dict[str, Any]:
    space = session.planner.space
    tree = session.planner.configured(space.values_of(trial.params)).tree
    tree.pop("profiles", None)
    return tree


def _method(tree: dict[str, Any], label: str, new_label: str) -> dict[str, Any]:
    [item] = [item for item in tree["methods"] if item_label(item) == label]
    spec = {"name": item} if isinstance(item, str) else dict(item)
    return {"name": spec.pop("name"), **spec, "as": new_label}


def _conditions(session: Session, written: Sequence[Any]) -> list[Any]:
    """List the benchmark's conditions, then those of the objectives that are missing there."""
    labels = {item_label(item) for item in written}
    return [*written, *(item for item in conditions_of(session.planner.objectives) if item_label(item) not in labels)]


def _head(session: Session, trial: FrozenTrial) -> str:
    record = session.record
    trials = session.study.get_trials(deepcopy=False)
    n_finished = finished(trials)
    pruned = sum(t.state == TrialState.PRUNED for t in trials)
    values = ", ".join(
        f"{o.name} {v:.6g} ({o.direction}d)" for o, v in zip(record.objectives, trial.values, strict=True)
    )
    scored = (
        "tuning cases" if record.tuning.scheme == "tuning_part" else f"{record.tuning.folds} folds of the training part"
    )
    lines = [
        f"Study '{record.name}', trial {trial.number}, of {n_finished} finished trials ({pruned} of them pruned).",
        f"On {scored} ({record.tuning.n_cases} cases, {record.tuning.n_positive} positive): {values}.",
        f"Made from {record.benchmark}; data: {record.domain}.",
    ]
    if (rungs := session.planner.rungs) is not None:
        lines.append(f"Measured on the last of {len(rungs.values)} rungs: {rungs.path} {rungs.values[-1]!r}.")
    if record.limit is not None:
        lines.append(f"The sweep took {record.limit} patients: run this with --limit {record.limit} to meet the same.")
    if any(parameter.path.startswith("data.") for parameter in session.planner.space):
        lines.append("The sweep varied the data's parameters: patients that only this cohort has were in no trial.")
    return "".join(f"# {line}\n" for line in lines)


def _yaml(tree: dict[str, Any]) -> str:
    tree = {key: tree[key] for key in ("name", "description", "data") if key in tree} | tree
    return yaml.safe_dump(masked(tree), sort_keys=False, allow_unicode=True, width=120)
