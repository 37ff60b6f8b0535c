"""The records of a run's held-out cases as its methods met them, and what a perturbation changed in them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from eagbench.analysis.cells import ConditionKey
from eagbench.contracts.policy_abilities import CountsPrompts
from eagbench.contracts.records import Case, Cases, FloatArray
from eagbench.contracts.stages import CasesInput, ComponentUse, StageNode, closure
from eagbench.errors import UserError
from eagbench.execution.exact_prompt import exact_prompt
from eagbench.execution.resolve import resolve
from eagbench.registry.code_versions import code_version
from eagbench.registry.plugins import load_registry
from eagbench.runs.cases.past_stages import MissingStageError, PastStage, PastStages
from eagbench.runs.predictions import Setting


class Change(NamedTuple):
    """A value that differs between two forms of a record; None where one of them lacks it.

    Attributes:
        feature: The feature's name.
        time: Hours since the start of the observation window.
        before: The value in the first record.
        after: The value in the second.
    """

    feature: str
    time: float
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class RecordChanges:
    """What a perturbation changed in a record.

    Attributes:
        summary: What it did, in words; empty if the record is as it was.
        values: The first values that differ, by time.
        n_values: How many differ in all.
    """

    summary: tuple[str, ...]
    values: tuple[Change, ...]
    n_values: int


class CaseRecords:
    """Reads the inputs of a run's predictions again, from the store.

    Args:
        manifest: The run's manifest.
        root: The store.

    Attributes:
        notes: Why what was read may not be what the run met: code that changed since.
    """

    def __init__(self, manifest: Mapping[str, Any], root: Path) -> None:
        self.notes: list[str] = []
        self._compared: set[tuple[str, str]] = set()
        self._out = tempfile.TemporaryDirectory()
        self.stages = PastStages(manifest, root)
        self._cells = [cell for cell in manifest.get("cells", ()) if cell["score"] is not None]
        self._text = {method["label"] for method in manifest["methods"] if method["reads"] == "text"}
        self._templates: dict[str, Callable[[str], str]] = {}

    @cached_property
    def text_methods(self) -> tuple[str, ...]:
        """The methods that read records as text, in the benchmark's order."""
        return tuple(dict.fromkeys(cell["method"] for cell in self._cells if cell["method"] in self._text))

    def predict(self, setting: Setting, condition: ConditionKey, fold: int, method: str | None = None) -> PastStage:
        """Find the stage in which a method, or any, met the cases of a fold under a condition, for the first seed.

        Raises:
            MissingStageError: The store does not hold it, or no method met these cases under the condition.
        """
        for cell in self._cells:
            place = (cell["domain_train"], cell["domain_eval"], cell["condition"], cell["severity"])
            if place != (setting[1], setting[2], *condition) or method not in (None, cell["method"]):
                continue
            for fingerprint in self.stages.listed[cell["score"]]["inputs"].get("predict", {}).get("stages", ()):
                node = self.stages.node(fingerprint)
                shown = node.inputs.get("cases")
                if isinstance(shown, CasesInput) and shown.fold == fold:
                    return node
        raise MissingStageError(f"the store lacks what {method or 'any method'} predicted under {condition[0]}")

    def cases(self, setting: Setting, condition: ConditionKey, fold: int, method: str | None = None) -> Cases:
        """Return the held-out cases of a fold under a condition, as a method, or any, met them.

        Raises:
            MissingStageError: The store lacks a stage that they are made from.
        """
        node = self.predict(setting, condition, fold, method)
        only_cases = PastStage(
            node.kind, node.label, node.function, {}, {"cases": node.inputs["cases"]}, recorded=node.fingerprint
        )
        shown = node.inputs["cases"]
        assert isinstance(shown, CasesInput)
        self._note_code(shown.condition.perturbation)
        try:
            cases: Cases = resolve(only_cases, self.stages.folder)["cases"]
        except UserError as error:  # a perturbation whose package is gone
            raise MissingStageError(error.what) from error
        return cases

    def _note_code(self, use: ComponentUse | None) -> None:
        """Note a component whose code is not that of the run: what it makes now may differ."""
        if use is None or (use.kind, use.name) in self._compared:
            return
        self._compared.add((use.kind, use.name))
        try:
            module = load_registry().get(use.kind, use.name).component.__module__
        except UserError as error:
            raise MissingStageError(error.what) from error
        if code_version(module).version != use.code.partition(";")[0]:
            self.notes.append(f"the code of {use.kind} {use.name} is not that of the run: what it makes may differ")

    def prompt(
        self, setting: Setting, condition: ConditionKey, fold: int, method: str, case_id: str
    ) -> tuple[str, str] | None:
        """Return the exact text that the method's policy read about a case, and how exact it is.

        Returns:
            The text, and a note: empty, or that the policy's chat template is left out because the store lacks the
            policy. None if the method asks the policy nothing about a case.

        Raises:
            MissingStageError: The store lacks a stage that the prompt is made from.
        """
        node = self.predict(setting, condition, fold, method)
        cases = self.cases(setting, condition, fold, method)
        case: Case = cases[cases.case_ids.index(case_id)]
        try:
            self._note_code(node.component)
            text = exact_prompt(node, case, cases, self._folder_but_policies, Path(self._out.name))
        except UserError as error:
            raise MissingStageError(error.what) from error
        except ValidationError as error:  # a parameter that says where files are stands in no fingerprint
            raise MissingStageError(f"{method} has parameters that only the benchmark's file holds") from error
        if text is None:
            return None
        policy = next((stage for stage in closure([node]) if stage.kind == "policy"), None)
        if policy is None:
            return text, ""
        described = self.stages.root / policy.kind / policy.fingerprint / "policy.json"
        if not described.is_file():
            return text, f"without the policy's chat template: the store lacks policy {policy.label}"
        if policy.fingerprint not in self._templates:
            self._templates[policy.fingerprint] = _template(described)
        return self._templates[policy.fingerprint](text), ""

    def _folder_but_policies(self, node: StageNode) -> Path:
        """Return a stage's folder; a policy's may be gone, because a prompt is made without the model."""
        if any(stage.kind == "policy" for stage in closure([node])):
            return self.stages.root / node.kind / node.fingerprint
        return self.stages.folder(node)


def _template(described: Path) -> Callable[[str], str]:
    """Return what puts a prompt into the chat template of the policy that a `policy.json` describes."""
    said = json.loads(described.read_text(encoding="utf-8"))
    component = load_registry().create("policy", said["name"], said["params"])
    counter = component.counter(described.parent) if isinstance(component, CountsPrompts) else None
    template: Callable[[str], str] = getattr(counter, "as_input", str)
    return template


def record_changes(clean: Case, changed: Case, most: int) -> RecordChanges:
    """Compare a record with its perturbed form.

    Args:
        clean: The record as it is.
        changed: The same case under a condition.
        most: How many of the values that differ to return.
    """
    times, before, after = _aligned(clean, changed)
    gone, new = ~np.isnan(before) & np.isnan(after), np.isnan(before) & ~np.isnan(after)
    altered = ~np.isnan(before) & ~np.isnan(after) & (before != after)
    n = np.count_nonzero(~np.isnan(before))
    counts = (("removed", np.count_nonzero(gone)), ("altered", np.count_nonzero(altered)))
    summary = [f"{k:,} of {n:,} values {word}" for word, k in counts if k]
    if new.any():
        summary.append(f"{np.count_nonzero(new):,} values added")
    rows, columns = np.nonzero(gone | new | altered)
    values = tuple(
        Change(clean.features[j], float(times[i]), _known(before[i, j]), _known(after[i, j]))
        for i, j in zip(rows[:most].tolist(), columns[:most].tolist(), strict=True)
    )
    return RecordChanges((*summary, *_around_the_values(clean, changed)), values, len(rows))


def _aligned(clean: Case, changed: Case) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Put both records on the same times and features; a time that a record holds twice counts with its last values.

    Returns:
        Times (T,), and the values of each record (T, F), NaN where it has none.
    """
    times = np.union1d(clean.times, changed.times)
    values = []
    for case in (clean, changed):
        placed = np.full((len(times), len(clean.features)), np.nan, np.float32)
        at, own = np.searchsorted(times, case.times), case.values_in_order(clean.features)
        for row, found in zip(at.tolist(), own, strict=True):
            placed[row] = np.where(np.isnan(found), placed[row], found)
        values.append(placed)
    return times, values[0], values[1]


def _around_the_values(clean: Case, changed: Case) -> list[str]:
    """Say what else differs: order, static facts, names and units, further lines, the prompt's words."""
    said = []
    common = [name for name in clean.features if name in changed.features]
    moved = sum(a != b for a, b in zip(common, (n for n in changed.features if n in common), strict=False))
    if moved:
        said.append(f"{moved} of {len(common)} features in another place")
    known = [name for name, value in clean.static.items() if not np.isnan(value)]
    gone = [name for name in known if np.isnan(changed.static.get(name, np.nan))]
    if gone:
        said.append(f"{', '.join(gone)} removed")
    said += [_rendering(name, changed) for name in changed.renderings if name in changed.observed()]
    if changed.distractors:
        names = [line.feature.label for line in changed.distractors]
        said.append(f"further lines: {', '.join(names)}")
    if changed.wordings:
        said.append("asked in other words")
    return said


def _rendering(name: str, case: Case) -> str:
    written = case.renderings[name]
    numbers = "" if (written.factor, written.offset) == (1.0, 0.0) else f", numbers times {written.factor:g}"
    if written.offset:
        numbers += f" plus {written.offset:g}"
    return f"{name} written as {written.name} ({written.unit}){numbers}"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def outside(value: float, limits: Sequence[float | None]) -> str:
    """Say on which side of its reference range a value is: `low`, `high`, or nothing inside or without limits."""
    low, high = limits
    if low is not None and value < low:
        return "low"
    return "high" if high is not None and value > high else ""
