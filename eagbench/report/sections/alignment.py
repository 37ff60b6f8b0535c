"""Report alignment: whether a method follows the reference expert more than by chance."""

from __future__ import annotations

import math

from eagbench.analysis.cells import CLEAN
from eagbench.metrics.attention import AlignmentOverConstant, AlignmentOverOtherPatient
from eagbench.metrics.attention_mass import AttentionMassOverOtherPatient
from eagbench.metrics.number_names import UNCORRECTED
from eagbench.report import tables, wording
from eagbench.report.page.blocks import Block, Prose, Section, TableBlock
from eagbench.report.sections.comparisons import of_group, verdict
from eagbench.report.tables import Line, Table
from eagbench.runs.reader import Group, RunFolder

_NOTHING = 1e-9  # a list that is the same for all patients differs from itself by rounding only
# The core's metrics of the excess over a list, or an attention, that ignores the patient.
_CORE_EXCESSES = (AlignmentOverConstant.name, AlignmentOverOtherPatient.name, AttentionMassOverOtherPatient.name)


def _excesses(run: RunFolder) -> list[str]:
    """List the run's alignment metrics that are 0 for a method that ignores the patient."""
    return [metric for metric in tables.metrics_of(run, "alignment") if run.declared(metric).no_skill == 0]


def _overlaps(run: RunFolder) -> list[str]:
    """List the main-table metrics that compare with the reference expert."""
    return [metric for metric in tables.metrics_of(run, "main") if run.declared(metric).needs_reference_expert]


def alignment(run: RunFolder, group: Group) -> Section | None:
    """Build the table, and say which excesses lie above 0; return None if the run measured no alignment."""
    table = alignment_table(run, group)
    said = [sentence for metric in _excesses(run) if (sentence := _verdict(run, group, metric))]
    said += [sentence for metric in _excesses(run) if (sentence := _paired(run, group, metric))]
    overlaps = _overlaps(run)
    has_overlap = any(key[3] in overlaps and row.status == "ok" for key, row in run.headline(group).items())
    if table is None and not has_overlap:
        return None
    if not said:
        said = [
            "This run did not measure what is reached without a look at the patient (the metrics "
            f"{wording.enumeration(list(_CORE_EXCESSES))}): its alignment can't be told from chance."
        ]
    blocks: list[Block] = [Prose(sentence) for sentence in said]
    if table is not None:
        blocks.append(TableBlock(table))
    return Section("alignment", "Alignment with the reference expert", tuple(blocks))


def alignment_table(run: RunFolder, group: Group) -> Table | None:
    """Tabulate overlap, number cited and excess over chance of each method that cites, or whose attention was measured.

    Returns:
        None for a run that measured only the overlap, which is in the main table, or no alignment at all.
    """
    own = tables.metrics_of(run, "alignment")
    if not own:
        return None
    cells = run.headline(group)
    metrics = [*_overlaps(run), *own]
    lines, used = [], []
    for method in run.methods:
        rows = [cells.get((method, CLEAN, None, metric)) for metric in metrics]
        known = [row for row in rows if row is not None and row.status == "ok" and not math.isnan(row.value)]
        if known:
            used.extend(known)
            lines.append(Line(method, tuple(tables.entry(run, row) for row in rows)))
    if not lines:
        return None
    name = run.reference_expert
    caption = (
        f"Alignment with the reference expert{f' ({name})' if name else ''}, beyond chance, on unchanged records. "
        f"{tables.seeds_words(run)}, with the {tables.interval_words(run)}. {tables.counts_words(used)}"
        f"{tables.definitions(run, metrics)}"
    )
    headings = tuple(tables.heading(run, metric) for metric in metrics)
    return Table(caption, ("Method", *headings), tuple(lines))


def _verdict(run: RunFolder, group: Group, metric: str) -> str:
    """Say which methods' excess has an interval above 0, and which not."""
    cells = run.headline(group)
    rows = [cells.get((method, CLEAN, None, metric)) for method in run.methods]
    known = [row for row in rows if row is not None and row.status == "ok" and not math.isnan(row.ci_low)]
    if not known:
        return ""
    above = [row.method for row in known if row.ci_low > _NOTHING]
    below = [row.method for row in known if row.ci_high < -_NOTHING]
    open_ = [row.method for row in known if row.ci_low <= _NOTHING and row.ci_high >= -_NOTHING]
    said = [f"the interval lies above 0 for {wording.enumeration(above)}" if above else "no interval lies above 0"]
    if open_:
        said.append(f"it contains 0 for {wording.enumeration(open_)}")
    if below:
        said.append(f"it lies below 0 for {wording.enumeration(below)}")
    return f"{tables.label(run, metric)}: {'; '.join(said)}."


def _paired(run: RunFolder, group: Group, metric: str) -> str:
    """Say whether the method under test has more excess than the others, including those of its earlier stages."""
    rows = [
        row
        for row in of_group(run, group)
        if (row.metric, row.condition, row.calibration) == (metric, CLEAN, UNCORRECTED)
    ]
    if not rows:
        return ""
    return f"{tables.label(run, metric)}, {rows[0].method} against others. {verdict(run, rows, 'the excess')}"
