"""A finished run: its numbers and answers as tables, its curves as figures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eagbench.report.tables import stamp
from eagbench.report.text import headline
from eagbench.runs.folder import REPORT
from eagbench.runs.reader import RunFolder
from eagbench.session import tables
from eagbench.session.display import run_html
from eagbench.session.failed_cells import failure_lines

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Plot = Literal["roc", "precision_recall", "decision", "calibration"]


class Run:
    """A finished run, as `eagbench.run` and `eagbench.open_run` return it.

    Tables are read when they are asked for. Change a copy: the next reader gets the same table.

    Args:
        folder: The run folder.

    Raises:
        UserError: It is not a run folder, the run was not finished, or a newer eagbench wrote it.
    """

    def __init__(self, folder: Path) -> None:
        self._run = RunFolder(folder)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._run.path

    @property
    def name(self) -> str:
        """The benchmark's name."""
        return str(self._run.manifest["name"])

    @property
    def report(self) -> Path:
        """The report: one HTML file that opens offline."""
        return self.folder / REPORT

    @property
    def stamp(self) -> str:
        """What must stand beside every number (`SYNTHETIC DATA.`, `LIMITED TO 200 PATIENTS.`); empty for a full run."""
        return stamp(self._run)

    @property
    def manifest(self) -> dict[str, object]:
        """A copy of `manifest.json`: benchmark, data, versions, and the outcome of every stage."""
        return dict(self._run.manifest)

    @cached_property
    def results(self) -> pd.DataFrame:
        """Every number of the run, one row each.

        Columns: method, condition, severity, seed (`mean` for the mean over seeds), metric, value, ci_low, ci_high
        (the interval), n_cases, n_positive, n_unparsed, status, then task, domains, split, calibration and subgroup.
        """
        return tables.results(self._run)

    @cached_property
    def cases(self) -> pd.DataFrame:
        """What each method said of each held-out case, one row per method, condition, seed and case.

        Columns: method, condition, severity, seed, case_id, patient_id, label, probability (as scored: the training
        prevalence where no answer could be read), parsed (whether one could), then what else the run has of it.

        Raises:
            UserError: The folder holds no answers, as a bundle made by `eagbench export`.
        """
        return tables.cases(self._run)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """The paired differences between methods; empty if the benchmark tests no method's claim."""
        return tables.table(self._run, "comparisons.csv")

    @cached_property
    def robustness(self) -> pd.DataFrame:
        """What each perturbation costs each method."""
        return tables.table(self._run, "robustness.csv")

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Seconds, memory and tokens of every stage."""
        return tables.table(self._run, "costs.csv")

    @cached_property
    def failed(self) -> pd.DataFrame:
        """The cells without a number because a stage or a metric failed, and why; empty if none did."""
        return tables.failed(self._run)

    def plot(
        self,
        kind: Plot = "roc",
        *,
        methods: Sequence[str] | None = None,
        condition: str = "clean",
        severity: float | None = None,
        domains: tuple[str, str] | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw a figure of held-out cases with matplotlib, a line per method, in the report's colours.

        `roc` and `precision_recall` average the curves of the seeds vertically, so that the area under a line is the
        AUROC or average precision of the report, which the legend gives with its interval. `decision` draws net benefit
        over threshold probability, beside acting on all and on none. `calibration` is the
        report's reliability diagram: event rate over mean probability in ten bins, the readable answers of all seeds
        pooled, bootstrap intervals over patients.

        Args:
            kind: `roc`, `precision_recall`, `decision` or `calibration`.
            methods: Labels of the methods to draw; None for all, references included.
            condition: The condition of the records.
            severity: Its severity; None if it has one only.
            domains: Where methods were trained and evaluated; None if the run has one such pair.
            ax: The axes to draw on; None for a new figure.

        Returns:
            The axes; `ax.figure.savefig("roc.pdf")` writes the figure.

        Raises:
            UserError: The run has no such method, condition, severity or domains, or there is no such figure.
        """
        from eagbench.session.plots import Selection, draw

        return draw(self._run, self.cases, Selection(kind, methods, condition, severity, domains), ax)

    def __repr__(self) -> str:
        return f"<eagbench run '{self.name}' in {self.folder}>"

    def __str__(self) -> str:
        return "\n".join([headline(self._run).rstrip(), *failure_lines(self._run.manifest.get("failed", ()))])

    def _repr_html_(self) -> str:
        """Show the run in a notebook: the report's first table, failures, and where the report is; no patient."""
        return run_html(self._run)
