"""`eagbench verify`, its last step: the report and its figures are those that the run folder gives."""

from __future__ import annotations

from pathlib import Path

import eagbench
from eagbench.report.html import report_files
from eagbench.runs.folder import FIGURES, REPORT
from eagbench.runs.reader import RunFolder
from eagbench.runs.verify.findings import Findings


def check_report(folder: Path, findings: Findings) -> None:
    """Make the report of a verified folder and its figures again, and compare them with those that are there.

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
        return
    made = report_files(run)
    for name, text in made.items():
        what = ("page", "report") if name == REPORT else ("figure", "files of figures")
        if not (folder / name).is_file():
            findings.leave_open(f"{name}: it is missing, `eagbench report` makes it again")
        elif (folder / name).read_bytes() != text.encode():
            findings.problems.append(
                f"{name} is not the {what[0]} that this folder gives: `eagbench report` makes it again"
            )
        else:
            findings.count(f"{what[1]} made again")
    others = [path.name for path in sorted((folder / FIGURES).glob("[!.]*")) if f"{FIGURES}/{path.name}" not in made]
    findings.problems += [f"{FIGURES}/{name} is no figure of this run: keep it elsewhere" for name in others]
