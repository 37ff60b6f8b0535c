"""Conformance tests for trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from eagbench.contracts.traits import TrackerTraits, traits_of
from eagbench.testing.component import ComponentConformance

STAGES = ("expert/concare, seed 0", "policy_optimisation/eag_rl, eag, seed 0")


class TrackerConformance(ComponentConformance):
    """A tracker accepts several stages or none, and can be resumed.

    Attributes:
        requires: The package it writes with; its tests are skipped if the package is not installed.
    """

    kind: ClassVar[str] = "tracker"
    requires: ClassVar[str | None] = None

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Make the tracker's folder in a run folder, and change to a different working directory."""
        if self.requires is not None:
            pytest.importorskip(self.requires)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        folder = tmp_path / "run" / "trackers"
        folder.mkdir(parents=True)
        return folder

    def test_says_whether_numbers_leave_the_machine(self, made: Any) -> None:
        """If they do, the tracker is refused for credentialed data."""
        assert isinstance(traits_of(made, TrackerTraits).leaves_machine, bool)

    def test_hears_of_stages_and_is_taken_up_again(self, validated: BaseModel, folder: Path) -> None:
        """Each attempt uses a new instance. The tracker leaves its input unchanged, and writes nothing elsewhere."""
        for first in (1, 4):
            tracker = self.component(validated)
            tracker.start("a_benchmark", folder)
            for stage in STAGES:
                for step in range(first, first + 3):
                    values = {"reward": step / 4, "kl": 0.5}
                    tracker.log(stage, step, values)
                    assert values == {"reward": step / 4, "kl": 0.5}
            tracker.finish()
        if not traits_of(tracker, TrackerTraits).leaves_machine:
            assert any(path.is_file() for path in folder.rglob("*"))
        assert not list(Path.cwd().iterdir())

    def test_a_run_without_a_number_ends_well(self, made: Any, folder: Path) -> None:
        """This happens if all stages are in the store."""
        made.start("a_benchmark", folder)
        made.finish()
