"""Report what the run cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eagbench.report import wording
from eagbench.report.page.blocks import Section, TableBlock
from eagbench.report.tables import Entry, Line, Table
from eagbench.runs.reader import CostRow, RunFolder


def cost(run: RunFolder) -> Section | None:
    """Tabulate the run's cost by kind of stage."""
    if not run.costs:
        return None
    lines = []
    for kind in dict.fromkeys(row.kind for row in run.costs):
        rows = [row for row in run.costs if row.kind == kind]
        computed = [row for row in rows if row.status == "computed"]
        memory = [row.peak_memory_mb for row in rows if not math.isnan(row.peak_memory_mb)]
        lines.append(
            Line(
                kind,
                (
                    Entry(wording.count(len(computed))),
                    Entry(wording.count(sum(row.status == "reused" for row in rows))),
                    Entry(wording.count(sum(row.status in {"failed", "skipped"} for row in rows))),
                    Entry(wording.duration(_seconds(computed))),
                    Entry(wording.duration(_seconds(rows))),
                    Entry(f"{max(memory):,.0f} MB" if memory else wording.EN_DASH),
                    Entry(wording.count(sum(row.generated_tokens for row in rows))),
                ),
            )
        )
    here = _seconds([row for row in run.costs if row.status == "computed"])
    table = Table(
        f"Cost by kind of stage: {wording.duration(here)} of computing in this run, "
        f"{wording.duration(_seconds(run.costs))} with the stages that were found in the store and reused, at what "
        "they took when they were computed.",
        (
            "Stage",
            "Computed",
            "Reused",
            "Failed or skipped",
            "Time here",
            "Time in all",
            "Peak memory",
            "Tokens written",
        ),
        tuple(lines),
    )
    return Section("cost", "Cost", (TableBlock(table),))


def _seconds(rows: Sequence[CostRow]) -> float:
    return sum(row.seconds for row in rows if not math.isnan(row.seconds))
