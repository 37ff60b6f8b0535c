"""Files in which a stage that trains or searches may describe its work, recognised by name.

    curves.jsonl, training.jsonl    one JSON object a line, with a rising whole number `step` and numbers by name
    summary.json, selected.json     one JSON object: what was found, or learnt from

A stage may append to its curves, or rewrite them whole, while it runs; followers read finished lines only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eagbench.contracts.stages import StageNode, closure
from eagbench.planning.plan import Plan

CURVES = ("curves.jsonl", "training.jsonl")
SUMMARIES = ("summary.json", "selected.json")


@dataclass(frozen=True, slots=True)
class Use:
    """A stage behind a method's predictions, for one seed and fold. Several methods may use the same stage."""

    method: str
    seed: int
    fold: int
    node: StageNode


@dataclass(frozen=True, slots=True)
class Point:
    """One line of a curve: a step and its numbers."""

    step: int
    values: Mapping[str, float]


def uses(plan: Plan) -> tuple[Use, ...]:
    """Return the stages behind each method's predictions, by method, seed and fold, each after those it needs."""
    order = {node.fingerprint: i for i, node in enumerate(plan.nodes)}
    # A method evaluated in several domains is trained once.
    found: dict[tuple[str, int, int, str], Use] = {}
    for cell in plan.cells:
        if cell.condition is not plan.conditions[0]:
            continue
        for fold, stages in enumerate(cell.folds):
            for node in sorted(closure(stages.predict.upstream()), key=lambda node: order[node.fingerprint]):
                found.setdefault(
                    (cell.method, cell.seed, fold, node.fingerprint), Use(cell.method, cell.seed, fold, node)
                )
    return tuple(found.values())


def stage_names(plan: Plan) -> dict[str, str]:
    """Name each stage for those who follow its numbers, by fingerprint.

    The name is `kind/label, seed s`. Where stages would share it, the methods that use them follow, and their fold; if
    that does not tell them apart either, the beginning of the fingerprint.
    """
    plain = {
        node.fingerprint: f"{node.kind}/{node.label}" + ("" if node.seed is None else f", seed {node.seed}")
        for node in plan.nodes
    }
    methods: dict[str, dict[str, None]] = {}
    folds: dict[str, set[int]] = {}
    for use in uses(plan):
        methods.setdefault(use.node.fingerprint, {})[use.method] = None
        folds.setdefault(use.node.fingerprint, set()).add(use.fold)

    def told_apart(fingerprint: str, name: str) -> str:
        used = f"{name}, {' + '.join(methods[fingerprint])}" if fingerprint in methods else name
        fold = folds.get(fingerprint, set())
        return f"{used}, fold {min(fold)}" if plan.loaded.benchmark.split.folds and len(fold) == 1 else used

    longer = _where_shared(plain, told_apart)
    return _where_shared(longer, lambda fingerprint, name: f"{name}, {fingerprint[:8]}")


def _where_shared(names: Mapping[str, str], told_apart: Callable[[str, str], str]) -> dict[str, str]:
    counted = Counter(names.values())
    return {key: told_apart(key, name) if counted[name] > 1 else name for key, name in names.items()}


def read_points(path: Path) -> Iterator[Point]:
    """Yield the finished lines of a curve, as far as they are written.

    Raises:
        ValueError: A line is not a JSON object, or has no whole number `step`: a bug in the stage that wrote it.
    """
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            return
        record = json.loads(line)
        step = record.pop("step", None) if isinstance(record, dict) else None
        if not isinstance(step, int) or isinstance(step, bool):
            raise ValueError(f"{path}: a line of a curve is an object with a whole number `step`, not {line.strip()}")
        yield Point(step, {name: float(v) for name, v in record.items() if _is_number(v)})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
