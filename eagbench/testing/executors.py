"""Conformance tests for executors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from eagbench.contracts.stages import StageNode, StageOutput
from eagbench.testing.component import ComponentConformance


@dataclass(frozen=True, slots=True)
class Compute:
    """A stand-in for the runner. It leaves a file for each stage, and checks for the files of the stages it needs.

    Attributes:
        folder: Folder of the files; visible to all processes.
        fails: Label of the stage that fails.
    """

    folder: Path
    fails: str = ""

    def __call__(self, node: StageNode) -> object:
        """Run one stage and return its outcome; never raise."""
        missing = [up.label for up in node.upstream() if not (self.folder / up.label).is_file()]
        if missing:
            return f"computed before {', '.join(missing)}"
        if node.label == self.fails:
            return "failed"
        with (self.folder / node.label).open("a") as stream:
            stream.write("once\n")
        return f"computed {node.label}"


def diamond() -> list[StageNode]:
    """Make six stages: `a` and `b` need nothing, `c` and `d` need `a`, `e` needs `c` and `d`, `f` needs `b`."""

    def node(label: str, *needed: StageNode) -> StageNode:
        inputs = {up.label: StageOutput(up) for up in needed}
        return StageNode("stage", label, "nowhere:nothing", {"label": label}, inputs, code="1")

    a, b = node("a"), node("b")
    c, d = node("c", a), node("d", a)
    return [a, b, c, d, node("e", c, d), node("f", b)]


class ExecutorConformance(ComponentConformance):
    """Every stage runs once, after those it needs; none runs after a failed one; this process is told the outcomes."""

    kind: ClassVar[str] = "executor"

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Return the folder where stages leave their files.

        An executor that runs on other machines needs a folder that they can see.
        """
        return tmp_path

    def told(self, made: Any, compute: Compute) -> dict[str, object]:
        """Execute the six stages and return the reported outcome of each, by label."""
        told: dict[str, object] = {}

        def done(node: StageNode, outcome: object) -> bool:
            assert node.label not in told, f"{node.label} was told twice"
            told[node.label] = outcome
            return outcome is not None and str(outcome).startswith("computed ")

        made.execute(diamond(), compute, done)
        return told

    def test_every_stage_is_computed_once_after_those_it_needs(self, made: Any, folder: Path) -> None:
        """The reported outcome of a stage is what `compute` returned."""
        assert self.told(made, Compute(folder)) == {label: f"computed {label}" for label in "abcdef"}
        assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys("abcdef", "once\n")

    def test_nothing_behind_a_failed_stage_is_computed(self, made: Any, folder: Path) -> None:
        """A stage that needs a failed one is reported with the outcome None, and the others go on."""
        told = self.told(made, Compute(folder, fails="c"))
        assert told == {**{label: f"computed {label}" for label in "abdf"}, "c": "failed", "e": None}
        assert not (folder / "e").exists()

    def test_what_is_raised_by_who_is_told_ends_the_run(self, made: Any, folder: Path) -> None:
        """The runner stops the work by raising in `done`, for example if a stage that every cell needs failed."""

        def done(node: StageNode, outcome: object) -> bool:
            raise RuntimeError(f"stop at {node.label}, {outcome}")

        with pytest.raises(RuntimeError, match=r"stop at [ab], computed"):
            made.execute(diamond(), Compute(folder), done)

    def test_without_stages_there_is_nothing_to_do(self, made: Any, folder: Path) -> None:
        """A plan may be empty once completed stages are left out."""
        made.execute([], Compute(folder), lambda node, outcome: pytest.fail(f"{node.label}: {outcome}"))
        assert not list(folder.iterdir())
