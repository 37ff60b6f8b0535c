"""A comparison of two runs as Markdown, HTML or CSV."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from eagbench.analysis.scored_run import UNANSWERED
from eagbench.errors import UserError
from eagbench.metrics.number_names import UNCORRECTED
from eagbench.report import wording
from eagbench.report.page.script import TABLES, THEME, inline_script, sort_value
from eagbench.report.sections.comparisons import p_value, signed
from eagbench.report.tables import Entry, Line, Table, markdown
from eagbench.runs.compare import COLUMNS, Comparison

FORMATS = (".csv", ".md", ".html")


def check_format(path: Path) -> None:
    """Refuse a file format that can't be written.

    Raises:
        UserError: The suffix is not one of `FORMATS`.
    """
    if path.suffix not in FORMATS:
        raise UserError(
            f"a file '{path.suffix}' can't be written", where="--out", hint=f"choices: {', '.join(FORMATS)}"
        )


def table(comparison: Comparison) -> Table:
    """Tabulate the differences in the primary metric, one line per pair of methods, domains and condition."""
    rows = [row for row in comparison.rows if row["metric"] == comparison.metric and row["calibration"] == UNCORRECTED]
    domains = {(row["task"], row["domain_train"], row["domain_eval"]) for row in rows}
    first = rows[0] if rows else comparison.rows[0]
    counted = {(row["n_cases"], row["n_positive"]) for row in rows}
    cases = (
        f"the same {wording.several(first['n_cases'], 'case')}, {wording.several(first['n_positive'], 'event')}"
        if len(counted) == 1
        else "the same cases"
    )
    traits = comparison.traits
    metric = wording.metric_label(comparison.metric, traits[comparison.metric])
    caption = (
        f"{_run(comparison.first)} minus {_run(comparison.second)}: paired difference in {metric} on {cases}, with the "
        f"{100 * comparison.level:g} % percentile interval over joint resamples of the patients. p corrected by Holm "
        "on unchanged records, by Benjamini and Hochberg over all other differences (other metrics and calibrations "
        "among them: --out FILE.csv). Smallest detectable: 2.8 standard errors."
    )
    if comparison.left_out:
        names = wording.enumeration([wording.metric_label(name, traits[name]) for name in comparison.left_out])
        caption += f" Left out, because the runs compare with different reference lists: {names}."
    heading = wording.metric_heading(comparison.metric, traits[comparison.metric])
    headings = (f"Difference in {heading}", "Smallest detectable", "p", "p corrected")
    decimals = traits[comparison.metric].decimals
    lines = tuple(_line(row, decimals, several_domains=len(domains) > 1) for row in rows)
    return Table(caption, ("Method", "Condition", *headings), lines)


def _run(folder: Path) -> str:
    resolved = folder.resolve()
    return f"{resolved.parent.name}/{resolved.name}"


def _line(row: dict[str, Any], decimals: int, *, several_domains: bool) -> Line:
    name = row["first"] if row["first"] == row["second"] else f"{row['first']} minus {row['second']}"
    where = wording.condition_label(row["condition"], row["severity"])
    if several_domains:
        where += f", {row['domain_train']} to {row['domain_eval']}"
    difference, low, high = (signed(row[key], decimals) for key in ("difference", "ci_low", "ci_high"))
    if math.isnan(row["difference"]):
        difference = UNANSWERED
    detectable = row["smallest_detectable"]
    return Line(
        name,
        (
            Entry(where),
            Entry(difference, "" if math.isnan(row["ci_low"]) else f"{low} to {high}"),
            Entry(wording.EN_DASH if math.isnan(detectable) else f"{detectable:.{decimals}f}"),
            Entry(p_value(row["p_value"])),
            Entry(p_value(row["p_corrected"])),
        ),
    )


def render(comparison: Comparison, suffix: str) -> str:
    """Render the comparison as text.

    Args:
        comparison: The differences found.
        suffix: `.csv` (every difference, unrounded), `.md` or `.html` (the table of the primary metric).
    """
    opening = "SYNTHETIC DATA." if comparison.is_synthetic else ""
    if suffix == ".csv":
        return _csv(comparison)
    if suffix == ".md":
        return markdown(table(comparison), opening)
    environment = Environment(
        loader=PackageLoader("eagbench.report.page", "templates"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("comparison.html.j2").render(
        first=_run(comparison.first),
        second=_run(comparison.second),
        opening=opening,
        table=table(comparison),
        script=inline_script(THEME, TABLES),
        sort_value=sort_value,
    )


def _csv(comparison: Comparison) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*COLUMNS, "stamp"])
    for row in comparison.rows:
        writer.writerow([*(_field(row[column]) for column in COLUMNS), "SYNTHETIC" if comparison.is_synthetic else ""])
    return stream.getvalue()


def _field(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return "" if value is None else value
