"""Read training curves and summaries from a run folder, grouping methods that share a stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import TRAINING, TRAINING_SUMMARIES
from eagbench.stages.parquet_files import read_parquet


@dataclass(frozen=True, slots=True)
class Curve:
    """One number over the steps of one stage, for one seed and fold."""

    seed: int
    fold: int
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Trained:
    """The same training for all seeds and folds.

    Attributes:
        methods: The methods whose predictions come from it, in the benchmark's order.
        kind: The kind of its stages.
        curves: One curve per seed and fold, by the number's name.
    """

    methods: tuple[str, ...]
    kind: str
    curves: Mapping[str, tuple[Curve, ...]]

    @property
    def title(self) -> str:
        """The methods, as a heading."""
        return ", ".join(self.methods)

    @property
    def short_title(self) -> str:
        """The methods, where there is little room."""
        return _short_title(self.methods)


@dataclass(frozen=True, slots=True)
class Summarised:
    """The summaries left by stages of one kind, for all seeds and folds.

    Attributes:
        methods: The methods whose predictions come from them, in the benchmark's order.
        label: The label of the stages.
        contents: The objects, one per stage.
    """

    methods: tuple[str, ...]
    label: str
    contents: tuple[Mapping[str, Any], ...]

    @property
    def title(self) -> str:
        """The methods, as a heading."""
        return ", ".join(self.methods)

    @property
    def short_title(self) -> str:
        """The methods, where there is little room."""
        return _short_title(self.methods)


def _short_title(methods: Sequence[str]) -> str:
    return methods[0] if len(methods) == 1 else f"{methods[0]} and {len(methods) - 1} more"


def trained(run: RunFolder) -> tuple[Trained, ...]:
    """Return every training of the run, in the order of the methods, with shared stages only once."""
    path = run.path / TRAINING
    if not path.is_file():
        return ()
    records = read_parquet(path).to_pylist()
    shared = _shared(records)
    found = []
    for (kind, _, stages), methods in shared.items():
        curves: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for record in records:
            if record["stage"] in stages and record["kind"] == kind and record["method"] == methods[0]:
                curves.setdefault(record["name"], {}).setdefault(record["stage"], []).append(record)
        found.append(Trained(methods, kind, {name: _curves(by_stage) for name, by_stage in curves.items()}))
    return tuple(found)


def _curves(by_stage: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Curve, ...]:
    return tuple(
        Curve(
            seed=points[0]["seed"],
            fold=points[0]["fold"],
            # A stage that does not depend on the seed appears once for every seed of a method.
            steps=tuple(dict.fromkeys(p["step"] for p in points)),
            values=tuple({p["step"]: p["value"] for p in points}.values()),
        )
        for points in by_stage.values()
    )


def summarised(run: RunFolder, file: str) -> tuple[Summarised, ...]:
    """Return the objects that stages left in a file of that name, with shared stages only once."""
    path = run.path / TRAINING_SUMMARIES
    if not path.is_file():
        return ()
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    records = [record for record in records if record["file"] == file]
    found = []
    for (_, label, stages), methods in _shared(records).items():
        contents = {record["stage"]: record["content"] for record in records if record["stage"] in stages}
        found.append(Summarised(methods, label, tuple(contents.values())))
    return tuple(found)


def _shared(records: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, frozenset[str]], tuple[str, ...]]:
    """Return the methods of each set of stages of one kind and label."""
    stages: dict[tuple[str, str, str], set[str]] = {}
    for record in records:
        stages.setdefault((record["method"], record["kind"], record["label"]), set()).add(record["stage"])
    shared: dict[tuple[str, str, frozenset[str]], tuple[str, ...]] = {}
    for (method, kind, label), own in stages.items():
        key = (kind, label, frozenset(own))
        shared[key] = (*shared.get(key, ()), method)
    return shared
