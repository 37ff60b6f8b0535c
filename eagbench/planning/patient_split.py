"""Ways to divide the patients of a plan: the benchmark's own split, or a sweep that divides its training part again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from eagbench.config.splits import FactSplit, FileSplit, SourceSplit, SplitSpec
from eagbench.contracts.stages import StageNode, StageOutput
from eagbench.errors import UserError
from eagbench.stages.split_file import HINT as FILE_HINT


class PatientSplit(Protocol):
    """A way to divide the patients of a plan.

    Attributes:
        folds: Number of folds.
    """

    @property
    def folds(self) -> int:
        """Number of folds."""

    def stage(self, cohort: StageNode, label: str) -> StageNode:
        """Return the stage that divides a cohort's patients.

        Its first input is the cohort, and its params contain a `seed`.
        """


class ContentHashes(Protocol):
    """Hash the content of files; the store does this, and remembers the hashes."""

    def content_hash(self, files: list[Path]) -> str:
        """Hash the content of files."""


@dataclass(frozen=True, slots=True)
class BenchmarkSplit:
    """The benchmark's own split.

    Attributes:
        spec: Shares or folds that the seed draws, or a split that a file, the source or a fact gives.
        contents: Hashes the file of a split.
        limit: Patients to take before the split; None for all.
    """

    spec: SplitSpec | FileSplit | SourceSplit | FactSplit
    contents: ContentHashes
    limit: int | None = None

    @property
    def folds(self) -> int:
        """Number of folds."""
        return self.spec.folds or 1

    def stage(self, cohort: StageNode, label: str) -> StageNode:
        """Return the stage that divides a cohort's patients."""
        inputs = {"cohort": StageOutput(cohort)}
        params = {**self.spec.model_dump(mode="json"), "folds": self.spec.folds, "limit": self.limit}
        match self.spec:
            case SplitSpec():
                return StageNode("split", label, "eagbench.stages.split:assign", params, inputs)
            case FileSplit():
                return self._of_file(self.spec.file.expanduser(), label, params, inputs)
            case SourceSplit():
                return StageNode("split", label, "eagbench.stages.given_split:from_source", params, inputs)
            case FactSplit():
                return StageNode("split", label, "eagbench.stages.given_split:from_fact", params, inputs)

    def _of_file(
        self, file: Path, label: str, params: Mapping[str, Any], inputs: Mapping[str, StageOutput]
    ) -> StageNode:
        if not file.is_file():
            raise UserError(f"there is no file '{file}'", where="split.file", hint=FILE_HINT)
        content = self.contents.content_hash([file])
        others = {key: value for key, value in params.items() if key != "file"}
        given = "eagbench.stages.given_split:from_file"
        return StageNode("split", label, given, others, inputs, content=content, locations={"file": str(file)})
