"""A run as a notebook shows it: the report's table of unchanged records, failures, and where the report is."""

from __future__ import annotations

from html import escape

from eagbench.report.sections.transfer import is_crossed, matrix_table
from eagbench.report.tables import Table, curve_metrics, group_title, main_table, stamp
from eagbench.report.unread_answers import explanation, unread
from eagbench.runs.folder import REPORT
from eagbench.runs.reader import RunFolder
from eagbench.session.failed_cells import failure_lines


def run_html(run: RunFolder) -> str:
    """Write a run as HTML without scripts or colours of its own, so that it fits any theme. It shows no patient."""
    manifest = run.manifest
    facts = " · ".join(
        escape(str(fact))
        for fact in (f"eagbench {manifest.get('eagbench_version', '')}", manifest.get("created", ""))
        if fact
    )
    parts = [f"<p><strong>{escape(str(manifest['name']))}</strong> · {facts}</p>"]
    if stamp(run):
        parts.append(f"<p><strong>{escape(stamp(run))}</strong></p>")
    parts += [_table(title, table) for title, table in _tables(run)]
    notes = [*([explanation(run)] if unread(run) else []), *failure_lines(manifest.get("failed", ()))]
    parts += [f"<p>{escape(note)}</p>" for note in notes]
    parts.append(f"<p>Report: <code>{escape(str(run.path / REPORT))}</code></p>")
    return f"<div>{''.join(parts)}</div>"


def _tables(run: RunFolder) -> list[tuple[str, Table]]:
    if is_crossed(run):
        matrix = matrix_table(run, curve_metrics(run)[0])
        return [] if matrix is None else [("", matrix)]
    return [(group_title(run, group), main_table(run, group)) for group in run.groups]


def _table(title: str, table: Table) -> str:
    side = "right" if table.numeric else "left"
    heads = "".join(
        f'<th scope="col" style="padding:.2em .8em;text-align:{side if i else "left"}">{escape(column)}</th>'
        for i, column in enumerate(table.columns)
    )
    rows = []
    for line in table.lines:
        cells = "".join(
            f'<td style="padding:.2em .8em;text-align:{side}">{escape(entry.text)}'
            f"{f' <small>({escape(entry.note)})</small>' if entry.note else ''}</td>"
            for entry in line.entries
        )
        rows.append(
            f'<tr><th scope="row" style="padding:.2em .8em;text-align:left">{escape(line.name)}</th>{cells}</tr>'
        )
    heading = f"<p>{escape(title[:1].upper() + title[1:])}</p>" if title else ""
    return (
        f"{heading}<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"<p><small>{escape(table.caption)}</small></p>"
    )
