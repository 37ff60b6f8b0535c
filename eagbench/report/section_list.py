"""The sections of a report: one list in one order, which HTML, Markdown and LaTeX follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eagbench.report import tables
from eagbench.report.figure_files import with_suffix
from eagbench.report.page.blocks import Section
from eagbench.report.sections.alignment import alignment
from eagbench.report.sections.calibration import calibration
from eagbench.report.sections.comparisons import comparisons
from eagbench.report.sections.cost import cost
from eagbench.report.sections.curves import curves
from eagbench.report.sections.results import citations, missing, performance, unparsed
from eagbench.report.sections.robustness import losses
from eagbench.report.sections.setting import data, provenance
from eagbench.report.sections.severities import robustness
from eagbench.report.sections.subgroups import subgroups
from eagbench.report.sections.training import clipping, searches, training
from eagbench.report.sections.transfer import transfer
from eagbench.runs.reader import Group, RunFolder

# Across all domains; absent from a run with one domain.
OVERVIEW: tuple[Callable[[RunFolder], Section | None], ...] = (transfer,)
# For every pair of domains, or once for a run with one domain.
OF_PAIR: tuple[Callable[[RunFolder, Group], Section | None], ...] = (
    performance,
    comparisons,
    robustness,
    losses,
    subgroups,
    curves,
    calibration,
    alignment,
    citations,
    unparsed,
    missing,
)
ABOUT_THE_RUN: tuple[Callable[[RunFolder], Section | None], ...] = (
    training,
    clipping,
    searches,
    data,
    cost,
    provenance,
)


@dataclass(frozen=True, slots=True)
class PairSections:
    """The sections about one pair of domains.

    Attributes:
        group: The pair.
        title: Identifies it among the pairs; empty if it is the only one.
        sections: Its sections.
    """

    group: Group
    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class ReportSections:
    """All sections of a report that have something to say, in order."""

    overview: tuple[Section, ...]
    of_pairs: tuple[PairSections, ...]
    about_the_run: tuple[Section, ...]


def _named(run: RunFolder, group: Group, section: Section) -> Section:
    """Name the figures of a section after its pair, if there are several."""
    if len(run.groups) == 1:
        return section
    return with_suffix(section, f"{group.domain_train}_to_{group.domain_eval}")


def report_sections(run: RunFolder) -> ReportSections:
    """Build every section of a run's report."""
    return ReportSections(
        overview=tuple(section for build in OVERVIEW if (section := build(run)) is not None),
        of_pairs=tuple(
            PairSections(
                group,
                tables.group_title(run, group),
                tuple(_named(run, group, section) for build in OF_PAIR if (section := build(run, group)) is not None),
            )
            for group in run.groups
        ),
        about_the_run=tuple(section for build in ABOUT_THE_RUN if (section := build(run)) is not None),
    )
