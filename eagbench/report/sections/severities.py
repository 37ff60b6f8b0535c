"""Report robustness over severities: curves and tables, one perturbation at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eagbench.analysis.cells import CLEAN
from eagbench.report import tables, wording
from eagbench.report.figure_data import of_results
from eagbench.report.figures import estimates as figures
from eagbench.report.page.blocks import Block, FigureBlock, Folded, Heading, Prose, Section, TableBlock
from eagbench.runs.reader import Cell, Group, ResultRow, RunFolder

CURVES_PER_FIGURE = 8  # as many as there are colours


def robustness(run: RunFolder, group: Group) -> Section | None:
    """Draw a figure and tables per perturbation, never two in one: they ask different questions."""
    if not run.perturbations:
        return None
    metrics = tables.curve_metrics(run)
    blocks: list[Block] = [
        Prose(
            "Each perturbation changes the held-out records at prediction time; nothing is trained again. Severity 0 "
            "is the clean record. The changes are drawn per case and are the same for every method. Each perturbation "
            "asks a question of its own, so no figure, table or number here combines two of them."
        )
    ]
    for perturbation in run.perturbations:
        blocks.append(Heading(perturbation))
        extents = {metric: _extent(run, group, metric, perturbation) for metric in metrics}
        blocks.extend(_Curves(run, run.headline(group), perturbation, extents).blocks())
        blocks.extend(TableBlock(tables.robustness_table(run, group, perturbation, metric)) for metric in metrics[:1])
        others = [m for m in run.metrics if m not in metrics[:1] and _has_numbers(run, group, perturbation, m)]
        if others:
            folded = tuple(TableBlock(tables.robustness_table(run, group, perturbation, m)) for m in others)
            blocks.append(Folded(f"Other metrics under {perturbation}", folded))
    return Section("robustness", "Robustness", tuple(blocks))


def _has_numbers(run: RunFolder, group: Group, perturbation: str, metric: str) -> bool:
    return any(
        key[1] == perturbation and key[3] == metric and row.status == "ok" for key, row in run.headline(group).items()
    )


def _extent(run: RunFolder, group: Group, metric: str, perturbation: str) -> tuple[float, float]:
    """Return the axis of a metric's curves.

    It is the same for all perturbations if a method without skill always scores the same (AUROC), so that slopes can be
    compared between figures. An unbounded loss gets one axis per perturbation, because a method that breaks down under
    one would flatten all other curves.
    """
    shared = run.declared(metric).without_skill(None)
    values = [] if shared is None else [shared]
    for (_, condition, _, name), row in run.headline(group).items():
        if name == metric and row.status == "ok" and (shared is not None or condition in (CLEAN, perturbation)):
            values.extend(v for v in (row.value, row.ci_low, row.ci_high) if not math.isnan(v))
    return figures.padded(values)


def _description(run: RunFolder, perturbation: str) -> str:
    for condition in run.manifest["conditions"]:
        if condition["name"] == perturbation and condition.get("description"):
            return f" {str(condition['description']).strip().rstrip('.')}."
    return ""


def _parts(methods: Sequence[str], run: RunFolder) -> list[list[str]]:
    """Distribute the methods over figures, about equally; the method that the benchmark tests is in all of them."""
    if len(methods) <= CURVES_PER_FIGURE:
        return [list(methods)] if methods else []
    spec = run.manifest["comparisons"]
    tested = [method for method in methods if spec is not None and method == spec["method"]]
    others = [method for method in methods if method not in tested]
    n_parts = math.ceil(len(others) / (CURVES_PER_FIGURE - len(tested)))
    size = math.ceil(len(others) / n_parts)
    return [others[start : start + size] + tested for start in range(0, len(others), size)]


@dataclass(frozen=True, slots=True)
class _Curves:
    """The figures of one perturbation.

    Attributes:
        run: The run.
        cells: The run's results in a group.
        perturbation: The perturbation.
        extents: The axis of each followed metric.
    """

    run: RunFolder
    cells: Mapping[Cell, ResultRow]
    perturbation: str
    extents: Mapping[str, tuple[float, float]]

    @property
    def severities(self) -> tuple[float | None, ...]:
        """The severities at which the perturbation was applied."""
        return self.run.perturbations[self.perturbation]

    def blocks(self) -> list[FigureBlock]:
        """Draw every method that has a number, a few per figure."""
        run, unit = self.run, self.run.severity_unit(self.perturbation)
        drawn = [method for method in run.methods if self._has_numbers(method)]
        missing = [method for method in run.methods if method not in drawn]
        look, parts, blocks = figures.looks(run.methods), _parts(drawn, run), []
        for part, shown in enumerate(parts, start=1):
            panels = [self._panel(metric, shown) for metric in self.extents]
            caption = self._caption(panels, shown)
            if missing:
                caption += f" Without a number here (see the section on missing cells): {wording.enumeration(missing)}."
            if len(parts) > 1:
                caption += f" Part {part} of {len(parts)}: {len(drawn)} methods in all."
            legend: list[tuple[figures.Look | None, str]] = [(look[method], method) for method in shown]
            legend.extend((None, name) for name in run.references)
            over = f"severity of {self.perturbation}"
            svg = figures.curves(panels, look, over, f"severity: {unit}" if unit else over)
            name = f"robustness_{self.perturbation}" + (f"_part_{part}" if len(parts) > 1 else "")
            used = [row for metric in self.extents for method in shown for _, row in self._points(method, metric)]
            blocks.append(FigureBlock(svg, caption, tuple(legend), of_results(name, used)))
        return blocks

    def _has_numbers(self, method: str) -> bool:
        rows = (self.cells.get((method, self.perturbation, s, m)) for s in self.severities for m in self.extents)
        return any(row is not None and row.status == "ok" for row in rows)

    def _points(self, method: str, metric: str) -> list[tuple[float, ResultRow]]:
        """Return the numbers of a curve by severity, starting from the clean record and skipping missing ones."""
        points = [(0.0, self.cells.get((method, CLEAN, None, metric)))]
        # Draw a perturbation without an amount one step away from clean.
        points += [
            (1.0 if s is None else s, self.cells.get((method, self.perturbation, s, metric))) for s in self.severities
        ]
        return [(x, row) for x, row in points if row is not None and row.status == "ok"]

    def _panel(self, metric: str, shown: Sequence[str]) -> figures.CurvePanel:
        traced = {method: self._points(method, metric) for method in shown}
        used = [row for points in traced.values() for _, row in points]
        curves = [
            figures.Curve(
                method,
                [x for x, _ in points],
                [figures.Estimate(row.value, row.ci_low, row.ci_high) for _, row in points],
            )
            for method, points in traced.items()
            if points
        ]
        references = {
            name: row.value
            for name in self.run.references
            if (row := self.cells.get((name, CLEAN, None, metric))) is not None and row.status == "ok"
        }
        baseline = self.run.declared(metric).without_skill(tables.event_rate(used))
        return figures.CurvePanel(tables.heading(self.run, metric), curves, references, baseline, self.extents[metric])

    def _caption(self, panels: Sequence[figures.CurvePanel], shown: Sequence[str]) -> str:
        run, unit = self.run, self.run.severity_unit(self.perturbation)
        used = [row for metric in self.extents for method in shown for _, row in self._points(method, metric)]
        caption = f"{self.perturbation}.{_description(run, self.perturbation)}"
        if unit:
            caption += f" Severity: {unit}."
        caption += f" {tables.seeds_words(run)}; the bands are the {tables.interval_words(run)}."
        caption += f" {tables.counts_words(used)} Axes do not start at 0"
        shared = [tables.label(run, m) for m in self.extents if run.declared(m).without_skill(None) is not None]
        listed = wording.enumeration(shared)
        caption += f"; that of {listed} is the same in all figures of this section." if shared else "."
        if any(panel.baseline is not None for panel in panels):
            caption += " Dotted: a prediction without skill."
        if run.references:
            caption += f" Dashed: {wording.enumeration(list(run.references))}, on clean records."
        return caption
