"""The writing of a run folder, cut short at a step: what tests and the harness do with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.conftest import Finished
from tests.reliability.command import hooked
from tests.reliability.run_folders import contents

BENCHMARK = """\
name: cut_short
data: {{name: tjh, root: {root}}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2}}
methods:
  - logistic_regression
  - {{name: lightgbm, n_estimators: 20}}
comparisons: {{method: lightgbm, metric: auroc}}
intervals: {{resamples: 100}}
recalibrate: true
subgroups: {{by: [sex]}}
metrics: [auroc, brier]
"""
FILES = {
    "comparisons.csv", "costs.csv", "log.jsonl", "manifest.json", "patients.parquet", "predictions/lightgbm.parquet",
    "predictions/logistic_regression.parquet", "report.html", "results.csv", "robustness.csv", "subgroups.parquet",
    "training_summaries.jsonl", "tuning_predictions.parquet",
    *(
        f"figures/{name}.{kind}"
        for name in ("calibration", "decision", "differences", "performance", "precision_recall", "roc", "subgroups")
        for kind in ("csv", "svg")
    ),
}  # fmt: skip
CommandLine = Callable[..., Finished]


@dataclass(frozen=True, slots=True)
class Kitchen:
    """A benchmark whose stages are all in a store, and the folder that an undisturbed run of it leaves.

    Attributes:
        folder: Holds the store.
        benchmark: The benchmark's file.
        whole: The run folder.
        command: Runs the command line.
        n_steps: How many steps the first writing of a run folder takes.
    """

    folder: Path
    benchmark: Path
    whole: Path
    command: CommandLine
    n_steps: int = 0

    def run(self, out: Path, at: int = 0, by: str = "kill", report: Path | None = None) -> Finished:
        """Run the benchmark into a folder, interrupted at a step of its writing; 0 for not at all."""
        hook = {"INTERRUPT_PLACE": str(out), "INTERRUPT_AT": str(at), "INTERRUPT_BY": by} if at or report else {}
        env = {
            "EAGBENCH_STORE": str(self.folder / "store"),
            **hooked(),
            **hook,
            **({} if report is None else {"INTERRUPT_REPORT": str(report)}),
        }
        return self.command("run", self.benchmark, "--out", out, "--quiet", env=env)

    def count(self, out: Path) -> int:
        """Count the steps of an undisturbed writing."""
        report = self.folder / "steps"
        report.unlink(missing_ok=True)
        done = self.run(out, report=report)
        assert done.code == 0, done.err
        return len(report.read_text().splitlines())


def make_kitchen(folder: Path, data: Path, command: CommandLine) -> Kitchen:
    """Compute all stages of the benchmark, then write an undisturbed run folder from the store alone.

    Args:
        folder: An empty folder.
        data: The folder of the data set `tjh`.
        command: Runs the command line.
    """
    benchmark = folder / "cut_short.yaml"
    benchmark.write_text(BENCHMARK.format(root=data))
    kitchen = Kitchen(folder, benchmark, folder / "whole" / "out", command)
    # What is compared has all its stages from the store.
    assert kitchen.run(folder / "computed").code == 0
    kitchen = replace(kitchen, n_steps=kitchen.count(kitchen.whole))
    assert set(contents(kitchen.whole)) == FILES
    assert kitchen.n_steps >= 2 * len(FILES)  # nearly each is opened and renamed
    return kitchen


def halves(folder: Path, whole: Path) -> list[str]:
    """Name the files at their final name that are not as in the undisturbed run."""
    expected = contents(whole)
    timed = {"manifest.json", "report.html"}  # they hold the time of writing
    found = contents(folder) if folder.is_dir() else {}
    return [name for name, content in found.items() if name in FILES - timed and content != expected[name]]


def spread(n_steps: int, n: int) -> list[int]:
    """Choose `n` of the steps, from the first to the last."""
    return sorted({1 + round(i * (n_steps - 1) / max(1, n - 1)) for i in range(n)})
