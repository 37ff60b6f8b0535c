"""What the page says about alignment: whether a method follows the reference expert beyond what chance gives."""

from __future__ import annotations

import math

from eagbench.analysis.cells import CLEAN
from eagbench.metrics.number_names import UNCORRECTED
from eagbench.report import tables, wording
from eagbench.report.page.blocks import Block, Prose, Section, TableBlock
from eagbench.report.sections.comparisons import of_group, verdict
from eagbench.report.tables import ALIGNMENT_METRICS, Line, Table
from eagbench.runs.reader import Group, RunFolder

OVERLAP = "attention_jaccard"
# Excess over what a list, or an attention, without regard to the patient reaches.
_NOTHING = 1e-9  # one list for everybody differs from itself by rounding only
EXCESSES = {
    "alignment_over_constant": "the overlap of citations, beyond that of one list for everybody",
    "alignment_over_other_patient": "the overlap of citations, beyond that of what is cited for other patients",
    "attention_mass_over_other_patient": "the likeness of attention, beyond that of the attention on other patients",
}


def alignment(run: RunFolder, group: Group) -> Section | None:
    """The table, and in words which excesses lie above 0; None if the run measured no alignment."""
    table = alignment_table(run, group)
    said = [sentence for metric in EXCESSES if (sentence := _verdict(run, group, metric))]
    said += [sentence for metric in EXCESSES if (sentence := _paired(run, group, metric))]
    has_overlap = any(key[3] == OVERLAP and row.status == "ok" for key, row in run.headline(group).items())
    if table is None and not has_overlap:
        return None
    if not said:
        said = [
            "This run did not measure what is reached without a look at the patient (the metrics "
            f"{wording.enumeration(list(EXCESSES))}): its alignment can't be told from chance."
        ]
    blocks: list[Block] = [Prose(sentence) for sentence in said]
    if table is not None:
        blocks.append(TableBlock(table))
    return Section("alignment", "Alignment with the reference expert", tuple(blocks))


def alignment_table(run: RunFolder, group: Group) -> Table | None:
    """Overlap, number cited and excess over chance of each method that cites, or whose attention was measured.

    Returns:
        None for a run that measured the overlap alone, which stands in the main table, or nothing of it.
    """
    if not any(metric in run.metrics for metric in ALIGNMENT_METRICS):
        return None
    cells = run.headline(group)
    metrics = [m for m in (OVERLAP, *ALIGNMENT_METRICS) if m in run.metrics]
    lines, used = [], []
    for method in run.methods:
        rows = [cells.get((method, CLEAN, None, metric)) for metric in metrics]
        known = [row for row in rows if row is not None and row.status == "ok" and not math.isnan(row.value)]
        if known:
            used.extend(known)
            lines.append(Line(method, tuple(tables.entry(row) for row in rows)))
    if not lines:
        return None
    name = run.reference_expert
    caption = (
        f"Alignment with the reference expert{f' ({name})' if name else ''}, beyond chance, on unchanged records. "
        f"{tables.seeds_words(run)}, with the {tables.interval_words(run)}. {tables.counts_words(used)} Citation "
        "overlap: mean Jaccard index of the cited features and the expert's top observed ones. Beyond a constant "
        "list: less the overlap of the features that are most often on top in training, the same for everybody. Beyond "
        "other patients: less the overlap of what the method cites for other patients. Attention likeness: 1 minus "
        "the Jensen-Shannon distance of the policy's attention to features from the expert's weights."
    )
    headings = tuple(wording.metric_heading(metric) for metric in metrics)
    return Table(caption, ("Method", *headings), tuple(lines))


def _verdict(run: RunFolder, group: Group, metric: str) -> str:
    """Which methods' excess has an interval above 0, and which do not."""
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
    what = EXCESSES[metric]
    return f"{what[0].upper()}{what[1:]}: {'; '.join(said)}."


def _paired(run: RunFolder, group: Group, metric: str) -> str:
    """Whether the method whose claim is tested has more excess than the others, those of its earlier stages too."""
    rows = [
        row
        for row in of_group(run, group)
        if (row.metric, row.condition, row.calibration) == (metric, CLEAN, UNCORRECTED)
    ]
    if not rows:
        return ""
    return f"{wording.metric_label(metric)}, {rows[0].method} against others. {verdict(run, rows, 'the excess')}"
