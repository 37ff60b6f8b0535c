"""The tables of a sweep's report, and a trial's parameters compared with the default configuration's."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import yaml

from eagbench.report import wording
from eagbench.report.tables import Entry, Line, Table
from eagbench.sweep.folder import rungs_climbed
from eagbench.sweep.report.trials import TUNING, SweepFolder, named, seconds_of, stages_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SHOWN = 10


def best_table(sweep: SweepFolder) -> Table:
    """Tabulate the ten best trials by the one objective, or all that no other beats.

    The default configuration is set apart.
    """
    n_objectives = len(sweep.record.objectives)
    shown = sweep.best if n_objectives > 1 else sweep.ranked(0)[:SHOWN]
    lines = [Line(_name(sweep, trial), _entries(sweep, trial)) for trial in shown]
    if sweep.default is not None and sweep.default not in shown:
        lines.append(Line(_name(sweep, sweep.default), _entries(sweep, sweep.default), reference=True))
    n = wording.several(len(sweep.complete), "complete trial")
    if n_objectives == 1:
        chosen = f"The best of {n}" if len(shown) == 1 else f"The {len(shown)} best of {n}"
    else:
        chosen = f"{len(shown)} of {n}: those that no other trial beats in every objective, in the order of the first"
    caption = (
        f"{chosen}. Values on {TUNING} ({tuning_words(sweep)}). The best of so many looks better here than it would on "
        f"new cases. {_dash_words(sweep)}"
    )
    return Table(caption.strip(), ("Trial", *_headings(sweep)), tuple(lines))


def _dash_words(sweep: SweepFolder) -> str:
    has_unset = any(name not in trial.params for name in sweep.axes for trial in sweep.complete)
    return f"{wording.EN_DASH}: the trial had no such parameter." if has_unset else ""


def _name(sweep: SweepFolder, trial: FrozenTrial) -> str:
    return f"{trial.number} (default)" if trial is sweep.default else str(trial.number)


def _headings(sweep: SweepFolder) -> tuple[str, ...]:
    titles = [sweep.title(i) for i in range(len(sweep.record.objectives))]
    return (*titles, *(sweep.short[name] for name in sweep.axes), "Time")


def _entries(sweep: SweepFolder, trial: FrozenTrial) -> tuple[Entry, ...]:
    if trial.state.name == "COMPLETE":
        values = [Entry(sweep.number(i, value)) for i, value in enumerate(trial.values)]
    else:
        values = [Entry(wording.EN_DASH, quiet=True) for _ in sweep.record.objectives]
    params = [
        Entry(sweep.written(name, trial.params[name])) if name in trial.params else Entry(wording.EN_DASH, quiet=True)
        for name in sweep.axes
    ]
    return (*values, *params, Entry(wording.duration(seconds_of(trial))))


def tuning_words(sweep: SweepFolder) -> str:
    """Say which cases the objectives are measured on, and how many."""
    tuning = sweep.record.tuning
    cases = f"n = {wording.count(tuning.n_cases)}, {wording.several(tuning.n_positive, 'event')}"
    if tuning.scheme == "cross_validation":
        return f"{cases}, {tuning.folds}-fold cross-validation inside training, no held-out case among them"
    return f"{cases}, none of them held out"


def difference(sweep: SweepFolder, trial: FrozenTrial) -> str:
    """Write a trial's parameters as YAML, marking the lines that differ from the default configuration's.

    Nothing is marked if the default configuration was not tried.
    """
    own = _nested(sweep, trial).splitlines()
    if sweep.default is None:
        return "\n".join(own)
    default = _nested(sweep, sweep.default).splitlines()
    lines: list[str] = []
    for tag, i, i_end, j, j_end in difflib.SequenceMatcher(a=default, b=own, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += [f"  {line}" for line in own[j:j_end]]
            continue
        for before, after in zip_longest(default[i:i_end], own[j:j_end]):
            lines += [] if before is None else [f"{wording.MINUS} {before}"]
            lines += [] if after is None else [f"+ {after}"]
    return "\n".join(lines)


def _nested(sweep: SweepFolder, trial: FrozenTrial) -> str:
    """Write a trial's paths and values as the YAML that they would be in a benchmark."""
    tree: dict[str, Any] = {}
    for path in sorted(trial.params, key=lambda name: (name.count("."), name)):
        *above, last = path.split(".")
        node = tree
        for part in above:
            inner = node.setdefault(part, {})
            if not isinstance(inner, dict):  # the choice of a component, which has parameters of its own
                inner = node[part] = {"name": inner}
            node = inner
        node[last] = copy.deepcopy(sweep.value_of(path, trial.params[path]))
    return str(yaml.safe_dump(tree, sort_keys=False))


def intermediate_table(sweep: SweepFolder) -> Table:
    """Tabulate what trials reported while they ran, by step."""
    trials = [trial for trial in sweep.trials if trial.intermediate_values]
    steps = sorted({step for trial in trials for step in trial.intermediate_values})
    lines = []
    for trial in trials:
        values = trial.intermediate_values
        entries = [
            Entry(sweep.number(0, values[s])) if s in values else Entry(wording.EN_DASH, quiet=True) for s in steps
        ]
        lines.append(Line(f"{_name(sweep, trial)}{', pruned' if trial in sweep.pruned else ''}", tuple(entries)))
    if sweep.rungs is not None:
        name, rungs = sweep.rungs
        caption = f"{sweep.label(0)} on {TUNING} at each rung, by {name}."
        return Table(caption, ("Trial", *(f"{name} {rungs[step]}" for step in steps)), tuple(lines))
    caption = f"Intermediate values of {sweep.label(0)} on {TUNING}, by step."
    return Table(caption, ("Trial", *(f"step {step}" for step in steps)), tuple(lines))


def trials_table(sweep: SweepFolder) -> Table:
    """Tabulate every trial with its state, values, parameters, time and stages."""
    lines = []
    for trial in sweep.trials:
        computed, reused = stages_of(trial)
        state = _STATES[trial.state.name]
        failure = trial.user_attrs.get("failure") if trial.state.name == "FAIL" else None
        note = f"{failure}" if failure else _origin(trial)
        climbed = () if sweep.rungs is None else (Entry(str(rungs_climbed(trial))),)
        entries = (Entry(state, note), *_entries(sweep, trial), *climbed, Entry(str(computed)), Entry(str(reused)))
        lines.append(Line(_name(sweep, trial), entries))
    caption = f"Every trial, with values on {TUNING} and the stages that it computed and reused. {_dash_words(sweep)}"
    columns = ("Trial", "State", *_headings(sweep), *(() if sweep.rungs is None else ("Rungs",)), "Computed", "Reused")
    return Table(caption.strip(), columns, tuple(lines))


_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


def _origin(trial: FrozenTrial) -> str:
    origin = trial.user_attrs.get("origin", {})
    if "retry_of" in origin:
        return f"trial {origin['retry_of']} again"
    return "given" if "fixed" in origin else ""


def space_table(sweep: SweepFolder) -> Table:
    """Tabulate each parameter's name, its path in the benchmark, and the values that it may have."""
    lines = [
        Line(sweep.short[path], (Entry(path), Entry(_space_words(values)), *_chosen(sweep, path)))
        for path, values in sweep.record.space.items()
    ]
    best = "Best" if len(sweep.best) == 1 else "First of the best"
    caption = "The search space, with the values of the default configuration and of the best trial."
    return Table(caption, ("Parameter", "Path", "Space", "Default", best), tuple(lines), numeric=False)


def _space_words(values: Mapping[str, Any]) -> str:
    """Write a distribution as in the sweep's file, without what is not set."""
    return named({key: value for key, value in values.items() if value not in (None, False, {})})


def _chosen(sweep: SweepFolder, path: str) -> tuple[Entry, Entry]:
    entries = []
    for trial in (sweep.default, sweep.best[0] if sweep.best else None):
        known = trial is not None and path in trial.params
        entries.append(
            Entry(sweep.written(path, trial.params[path])) if trial and known else Entry(wording.EN_DASH, quiet=True)
        )
    return entries[0], entries[1]
