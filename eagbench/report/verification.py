"""`eagbench verify`, its last step: the report is the page that the run folder gives."""

from __future__ import annotations

from pathlib import Path

import eagbench
from eagbench.report.html import report_text
from eagbench.runs.folder import REPORT
from eagbench.runs.reader import RunFolder
from eagbench.runs.verify.findings import Findings


def check_report(folder: Path, findings: Findings) -> None:
    """Make the report of a verified folder again, and compare it with the one that is there.

    Another version of eagbench writes other pages, so its own page proves nothing about that of the run's version.

    Args:
        folder: The run folder.
        findings: What was found so far; a folder with problems would give another page, so nothing is compared.
    """
    if not findings.passed:
        return
    run = RunFolder(folder)
    if run.manifest["eagbench_version"] != eagbench.__version__:
        findings.leave_open(f"{REPORT}: eagbench {run.manifest['eagbench_version']} wrote it, this is another version")
    elif not (folder / REPORT).is_file():
        findings.leave_open(f"{REPORT}: it is missing, `eagbench report` makes it again")
    elif (folder / REPORT).read_bytes() != report_text(run).encode():
        findings.problems.append(f"{REPORT} is not the page that this folder gives: `eagbench report` makes it again")
    else:
        findings.count("report made again")
