"""Writes a sweep's report: one file that opens offline, made from the sweep's folder and its study."""

from __future__ import annotations

from pathlib import Path

from eagbench.execution.whole_files import write_text
from eagbench.report import tables, wording
from eagbench.report.page.blocks import Section
from eagbench.report.page.page import Page
from eagbench.report.page.page import render as render_page
from eagbench.report.tables import Format, Table
from eagbench.sweep.folder import TRIALS
from eagbench.sweep.report import evaluation as report_evaluation
from eagbench.sweep.report import sections as report_sections
from eagbench.sweep.report.tables import best_table, tuning_words
from eagbench.sweep.report.trials import TUNING, SweepFolder


def write_report(folder: Path, storage: str | None = None) -> Path:
    """Write the report of a sweep into its folder.

    Args:
        folder: The sweep's folder.
        storage: Full URL of its storage, needed if it has a password, which `sweep.json` leaves out.

    Returns:
        `folder/report.html`.

    Raises:
        UserError: The folder is not a sweep's folder, or its storage can't be opened.
    """
    sweep = SweepFolder(folder, storage)
    record = sweep.record
    page = Page(
        name=record.name,
        version=record.eagbench,
        created=_created(sweep),
        synthetic=record.is_synthetic,
        stamp=stamp(sweep),
        opening=opening(sweep),
        tiles=tiles(sweep),
        sections=_sections(sweep),
    )
    out = folder / "report.html"
    write_text(out, render_page(page, "sweep.html.j2", {"limit": record.limit}))
    return out


def render(folder: Path, format: Format, storage: str | None = None) -> str:
    """Render a sweep's tables.

    `md` and `latex` give the best trials and the evaluation on held-out cases, `csv` gives `trials.csv`.

    Raises:
        UserError: The folder is not a sweep's folder, or its storage can't be opened.
    """
    sweep = SweepFolder(folder, storage)
    if format == "csv":
        return (folder / TRIALS).read_text(encoding="utf-8")
    write = tables.markdown if format == "md" else tables.latex
    shown: list[Table] = [best_table(sweep)] if sweep.complete else []
    return "\n".join(write(table, stamp(sweep)) for table in [*shown, *report_evaluation.held_out_tables(sweep)])


def _sections(sweep: SweepFolder) -> list[Section]:
    built = (
        report_sections.best(sweep),
        report_evaluation.held_out(sweep),
        report_sections.history(sweep),
        report_sections.front(sweep),
        report_sections.importances(sweep),
        report_sections.slices(sweep),
        report_sections.parallel(sweep),
        report_sections.intermediate(sweep),
        report_sections.cost(sweep),
        report_sections.every_trial(sweep),
        report_sections.setting(sweep),
    )
    return [section for section in built if section is not None]


def stamp(sweep: SweepFolder) -> str:
    """Return the words that start every caption; empty for a whole sweep on real data."""
    words = ["SYNTHETIC DATA."] if sweep.record.is_synthetic else []
    if sweep.record.limit is not None:
        words.append(f"LIMITED TO {wording.count(sweep.record.limit)} PATIENTS.")
    return " ".join(words)


def opening(sweep: SweepFolder) -> tuple[str, ...]:
    """Say what was searched, on which cases, and what came out, in a few plain sentences."""
    record = sweep.record
    objectives = wording.enumeration([f"the {sweep.label(i)}" for i in range(len(record.objectives))])
    searched = (
        f"{wording.in_words(len(record.space), 'parameter').capitalize()} of the benchmark {record.benchmark_name} "
        f"were searched with Optuna's {record.sampler.get('name', 'default sampler')} for {objectives} on {TUNING} of "
        f"{record.domain} ({tuning_words(sweep)})."
    )
    done = len(sweep.complete) + len(sweep.pruned)
    pruned = f", {len(sweep.pruned)} of them pruned" if sweep.pruned else ""
    failed = f"; {len(sweep.failed)} more failed" if sweep.failed else ""
    found = f"{wording.several(record.trials, 'trial')} were asked for; {done} finished{pruned}{failed}."
    found = f"{found}{_found(sweep)}"
    return (searched, found)


def _found(sweep: SweepFolder) -> str:
    if not sweep.best:
        return ""
    if len(sweep.record.objectives) > 1:
        n = wording.in_words(len(sweep.best), "trial").capitalize()
        return f" {n} {'is' if len(sweep.best) == 1 else 'are'} beaten by no other in every objective."
    text = f" The best is trial {sweep.best[0].number} with {sweep.number(0, sweep.best[0].values[0])}"
    if sweep.default is not None:
        text += f"; the default configuration has {sweep.number(0, sweep.default.values[0])}"
    return f"{text} ({TUNING})."


def tiles(sweep: SweepFolder) -> tuple[tuple[str, str], ...]:
    """List the numbers that a reader looks for first."""
    record = sweep.record
    first = []
    if len(record.objectives) == 1 and sweep.best:
        first.append((f"best {sweep.label(0)}, {TUNING}", sweep.number(0, sweep.best[0].values[0])))
        if sweep.default is not None:
            first.append((f"default {sweep.label(0)}, {TUNING}", sweep.number(0, sweep.default.values[0])))
    return (
        *first,
        (f"finished of {record.trials} trials", str(len(sweep.complete) + len(sweep.pruned))),
        ("of them pruned", str(len(sweep.pruned))),
        ("failed", str(len(sweep.failed))),
        ("tuning cases", wording.count(record.tuning.n_cases)),
        ("tuning events", wording.count(record.tuning.n_positive)),
    )


def _created(sweep: SweepFolder) -> str:
    """Return when the last trial ended, so that the same study gives the same page."""
    ends = [trial.datetime_complete for trial in sweep.trials if trial.datetime_complete is not None]
    return max(ends).isoformat(timespec="seconds") if ends else "no trial has ended yet"
