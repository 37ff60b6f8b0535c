"""The training cases of a run on which trajectories were searched: their record, their search tree, their rewards.

A stage that searches leaves `trajectories.jsonl` (a line per case with its finished trajectories, best first, each with
its reward's parts) and `trees.jsonl` (a line per case with the nodes of its tree). They are recognised by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eagbench.contracts.records import Cases, TrainingData
from eagbench.contracts.stages import StageOutput, TrainingInput
from eagbench.execution.resolve import resolve
from eagbench.prompting.prompt_specs import style_if_any
from eagbench.prompting.record import RecordText
from eagbench.prompting.styles import prompt_text
from eagbench.runs.cases.past_stages import MissingStageError, PastStage, PastStages
from eagbench.stages.salience import read_salience

_KIND, _TRAJECTORIES, _TREES = "trajectories", "trajectories.jsonl", "trees.jsonl"


@dataclass(frozen=True, slots=True)
class SearchedCase:
    """A training case with what a search found.

    Attributes:
        case_id: The case.
        label: 0 or 1.
        trajectories: The finished trajectories, best first, as JSON, each with its `reward` by part.
        tree: The nodes of the search tree in the order of their making, as JSON (`parent`, `text`, `visits`, `mean`,
            `best`, ...); empty for a search without a tree.
        generated_tokens: Tokens that the policy wrote for it.
    """

    case_id: str
    label: int
    trajectories: tuple[Mapping[str, Any], ...]
    tree: tuple[Mapping[str, Any], ...]
    generated_tokens: int

    @property
    def best_reward(self) -> float | None:
        """The total reward of the best trajectory; None if none was finished."""
        return float(self.trajectories[0]["reward"]["total"]) if self.trajectories else None


class Search:
    """A stage of a run that searched trajectories on training cases.

    Args:
        stages: The run's stages.
        node: The stage.
    """

    def __init__(self, stages: PastStages, node: PastStage) -> None:
        self._stages, self.node = stages, node

    @property
    def label(self) -> str:
        """The stage's display name."""
        return self.node.label if self.node.seed is None else f"{self.node.label}, seed {self.node.seed}"

    @cached_property
    def cases(self) -> list[SearchedCase]:
        """The searched cases in the stage's order.

        Raises:
            MissingStageError: The store lacks the stage, or one that its labels come from.
        """
        folder = self._stages.folder(self.node)
        trees = {line["case_id"]: line["tree"] for line in _lines(folder / _TREES)}
        labels = dict(zip(self._data.train.cases.case_ids, self._data.train.labels.tolist(), strict=True))
        return [
            SearchedCase(
                line["case_id"],
                labels[line["case_id"]],
                tuple(line["trajectories"]),
                tuple(trees.get(line["case_id"]) or ()),
                int(line["generated_tokens"]),
            )
            for line in _lines(folder / _TRAJECTORIES)
        ]

    @cached_property
    def _data(self) -> TrainingData:
        name, shown = next((n, v) for n, v in self.node.inputs.items() if isinstance(v, TrainingInput))
        only_cases = PastStage(self.node.kind, self.label, "", {}, {name: shown}, recorded=self.node.fingerprint)
        data: TrainingData = resolve(only_cases, self._stages.folder)[name]
        return data

    @property
    def records(self) -> Cases:
        """All training cases.

        Raises:
            MissingStageError: The store lacks them.
        """
        return self._data.train.cases

    @cached_property
    def salience(self) -> Mapping[str, Mapping[str, float]]:
        """The cross-fitted expert's weight per feature by case id; empty if no expert guided the search.

        Raises:
            MissingStageError: The store lacks them.
        """
        folder = self._output("salience")
        return {} if folder is None else read_salience(folder)

    def prompt(self, case_id: str) -> str | None:
        """Return the prompt about a case; None if the stage does not say how it asks.

        Raises:
            MissingStageError: The store lacks the fitted text form of records.
        """
        style = style_if_any(self.node.params.get("style"))
        if style is None or self._record_text is None:
            return None
        case = next(case for case in self.records if case.case_id == case_id)
        return prompt_text(style, case, self.records, self._record_text)

    @cached_property
    def _record_text(self) -> RecordText | None:
        folder = self._output("record_text")
        return None if folder is None else RecordText.load(folder)

    def _output(self, name: str) -> Path | None:
        value = self.node.inputs.get(name)
        return self._stages.folder(value.stage) if isinstance(value, StageOutput) else None


def searches(stages: PastStages) -> tuple[list[Search], list[str]]:
    """Find the searches of a run.

    Returns:
        Those that the store holds, and the names of those that it lacks.
    """
    found, missing = [], []
    for fingerprint in stages.of_kind(_KIND):
        if stages.listed[fingerprint]["status"] not in ("computed", "reused"):
            continue
        search = Search(stages, stages.node(fingerprint))
        try:
            if search.cases:
                found.append(search)
        except MissingStageError as error:
            missing.append(str(error))
    return found, missing


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)
