"""Choose and order cases: wrong, unread, in a subgroup, changed most under a perturbation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eagbench.analysis.cells import CLEAN, CLEAN_KEY, ConditionKey
from eagbench.config.suggestions import choices
from eagbench.contracts.records import FloatArray, IntArray
from eagbench.errors import UserError
from eagbench.report import wording
from eagbench.runs.cases.answers import THRESHOLD, SettingCases
from eagbench.runs.reader import RunFolder

ONLY = ("all", "wrong", "unread")


@dataclass(frozen=True, slots=True)
class Selection:
    """What to list.

    Attributes:
        method: The method whose answers count.
        condition: The condition under which it answered.
        subgroup: One of the run's subgroups; None for all cases.
        only: One of `ONLY`: all cases, those it was wrong about, or those whose answer could not be read.
    """

    method: str
    condition: ConditionKey = CLEAN_KEY
    subgroup: str | None = None
    only: str = "all"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user chose by name.

    Attributes:
        method: A method's label; None for `main_method`.
        condition: A condition, with its severity if there are several (`missing_values 0.3`); None for unchanged
            records.
        subgroup: A subgroup's name (`sex=female`); None for all cases.
        only: One of `ONLY`.
        domains: `trained:evaluated`; None for the first pair.
    """

    method: str | None = None
    condition: str | None = None
    subgroup: str | None = None
    only: str = "all"
    domains: str | None = None


def main_method(run: RunFolder) -> str:
    """Return the method that a run is about: the one whose claim it tests, else its last."""
    claim = run.manifest.get("comparisons")
    return str(claim["method"]) if claim else run.methods[-1]


def chosen(
    run: RunFolder,
    cases: SettingCases,
    asked: Asked,
) -> Selection:
    """Check what the user chose against what the run holds.

    Args:
        run: The run.
        cases: The cases of the setting to show.
        asked: What the user chose.

    Raises:
        UserError: The run has no such method, condition or subgroup, or the method no answers under the condition.
    """
    subgroup, only = asked.subgroup, asked.only
    label = asked.method or main_method(run)
    methods = list(dict.fromkeys(name for name, _ in cases.answers))
    if label not in methods:
        raise UserError(f"the run has no answers of '{label}'", where="--method", hint=choices(label, methods))
    key = _condition(cases, asked.condition)
    if (label, key) not in cases.answers:
        what = f"'{label}' has no answers under {wording.condition_label(*key)}"
        hint = "the condition means nothing for what the method reads, or its cell failed"
        raise UserError(what, where="--condition", hint=hint)
    if subgroup is not None and subgroup not in cases.subgroups:
        hint = choices(subgroup, list(cases.subgroups)) if cases.subgroups else "the benchmark asks for none"
        raise UserError(f"the run has no subgroup '{subgroup}'", where="--subgroup", hint=hint)
    if only not in ONLY:
        raise UserError(f"there is no choice '{only}'", where="--only", hint=choices(only, list(ONLY)))
    return Selection(label, key, subgroup, only)


def _condition(cases: SettingCases, asked: str | None) -> ConditionKey:
    if asked is None or asked == CLEAN:
        return CLEAN_KEY
    named = {wording.condition_label(*key): key for key in cases.conditions}
    if asked in named:
        return named[asked]
    alone = [key for key in cases.conditions if key[0] == asked]
    if len(alone) == 1:
        return alone[0]
    raise UserError(f"the run has no condition '{asked}'", where="--condition", hint=choices(asked, list(named)))


def change(cases: SettingCases, selection: Selection) -> FloatArray:
    """Return by how much each answer moved from that on the unchanged record; NaN without one of them."""
    now = cases.answers[selection.method, selection.condition]
    before = cases.answers.get((selection.method, CLEAN_KEY))
    if before is None:
        return np.full(len(cases), np.nan)
    return np.where(now.parsed & before.parsed, now.probability - before.probability, np.nan)


def selected(cases: SettingCases, selection: Selection) -> IntArray:
    """Return the positions of the selected cases, the worst first, unread ones last.

    On unchanged records the worst is the answer furthest from its label. Under a perturbation it is the answer that
    moved most. Ties are in the order of case ids.
    """
    answers = cases.answers[selection.method, selection.condition]
    error = answers.error(cases.label)
    keep = ~np.isnan(answers.probability)
    if selection.only == "wrong":
        keep &= answers.parsed & ((answers.probability >= THRESHOLD) != (cases.label == 1))
    elif selection.only == "unread":
        keep &= ~answers.parsed
    if selection.subgroup is not None:
        members = cases.subgroups[selection.subgroup]
        keep &= np.array([case_id in members for case_id in cases.case_id], dtype=bool)
    rank = error if selection.condition == CLEAN_KEY else np.abs(change(cases, selection))
    order = np.argsort(-np.nan_to_num(rank, nan=-1.0), kind="stable")
    found: IntArray = order[keep[order]]
    return found


def setting_of(settings: Sequence[SettingCases], domains: str | None) -> SettingCases:
    """Choose the task and pair of domains to show.

    Args:
        settings: What the run evaluated.
        domains: `trained:evaluated`; None for the first.

    Raises:
        UserError: The run has no such pair.
    """
    if domains is None:
        return settings[0]
    named = {f"{cases.setting[1]}:{cases.setting[2]}": cases for cases in settings}
    if domains not in named:
        raise UserError(f"the run has no pair '{domains}'", where="--domains", hint=choices(domains, list(named)))
    return named[domains]
