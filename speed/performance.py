"""Run the scripts of speed/ that belong to large cohorts and many cells, and write what they measured into the docs.

    python speed/performance.py [PART ...] [--small] [--docs FOLDER]        or `make performance`

Without names all parts run, one after the other: hours. Each section is written between its markers
(`<!-- measured: PART -->`) as soon as its script has ended, with command, machine, date and revision. A part that
fails leaves its section as it was, and the command ends with exit code 1. --small takes sizes that only show that the
way through the code works; its figures are printed, and written only into a copy of the docs given by --docs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measured import ROOT

BASE = "efb7e96"  # before cohorts came in blocks and cells shared their draws


@dataclass(frozen=True, slots=True)
class Part:
    """A script with its arguments, and the page that shows what it measured.

    Attributes:
        script: Its name in speed/.
        full: Arguments of the measurement.
        small: Arguments with which it ends in minutes.
        page: The page's file in docs/.
    """

    script: str
    full: tuple[str, ...]
    small: tuple[str, ...]
    page: str = "performance.md"


PARTS: Mapping[str, Part] = {
    "cohort_memory": Part(
        "cohort_memory",
        ("--base", BASE, "--admissions", "1500", "6000", "--repeats", "3", "--pyhealth"),
        ("--base", "none", "--admissions", "300"),
    ),
    "cohort_memory_large": Part(
        "cohort_memory",
        ("--base", "none", "--admissions", "25000", "100000", "--pyhealth"),
        ("--base", "none", "--admissions", "400", "--pyhealth"),
    ),
    "cohort_memory_dense": Part(
        "cohort_memory",
        ("--base", "none", "--admissions", "20000", "--density", "mimic", "--pyhealth"),
        ("--base", "none", "--admissions", "100", "--density", "mimic"),
    ),
    "dask_cost": Part(
        "dask_cost", (), ("--stages", "20", "--sleep", "0.1", "--rounds", "1", "--real", "2", "--rows", "2000")
    ),
    "fresh_run": Part(
        "fresh_run", ("--base", BASE, "--rounds", "5"), ("--base", "HEAD", "--rounds", "1", "--data", "tjh")
    ),
    "resume": Part(
        "resume", ("--base", BASE, "--rounds", "3"), ("--base", "HEAD", "--rounds", "1", "--methods", "1", "2")
    ),
    "cohort_reading": Part(
        "cohort_reading",
        ("--base", BASE, "--cases", "25000"),
        ("--here-only", "--cases", "500"),
    ),
    "cohort_reading_large": Part(
        "cohort_reading",
        ("--here-only", "--cases", "100000"),
        ("--here-only", "--cases", "1000"),
    ),
    "growth": Part(
        "growth",
        ("--patients", "1500", "6000", "25000", "100000"),
        (
            *("--patients", "200", "400", "--conditions", "2", "4", "--methods", "2", "4"),
            *("--seeds", "1", "2", "--stays", "1000"),
        ),
        "growth.md",
    ),
}


def main() -> None:
    """Run the parts, and write or print their sections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--small", action="store_true", help="small sizes, to try the scripts")
    parser.add_argument("--docs", type=Path, help="the folder of the pages (default: docs/, with --small none)")
    args = parser.parse_args()
    docs = args.docs or (None if args.small else ROOT / "docs")
    failed = []
    for name in args.parts or PARTS:
        part = PARTS[name]
        found = measure(part, part.small if args.small else part.full)
        if found is None:
            failed.append(name)
        elif docs is None:
            print(section(found))
        else:
            write_section(docs / part.page, name, section(found))
    if failed:
        sys.exit(f"failed, and left as they were: {', '.join(failed)}")


def measure(part: Part, arguments: Sequence[str]) -> Mapping[str, Any] | None:
    """Run a script; what it prints is shown. Return what it wrote as JSON, None if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measured.json"
        script = ROOT / "speed" / f"{part.script}.py"
        print(f"{part.script}.py {' '.join(arguments)}", flush=True)
        done = subprocess.run([sys.executable, str(script), *arguments, "--json", str(file)], check=False)
        if done.returncode or not file.exists():
            return None
        found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what a page says between the markers of a part.

    Raises:
        ValueError: The page lacks the markers.
    """
    begin, end = f"<!-- measured: {name} -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{page} has no markers of '{name}'")
    page.write_text(before + begin + text + end + after, encoding="utf-8")


def section(found: Mapping[str, Any]) -> str:
    """Write what a script measured as Markdown: the command, the tables, and where it ran."""
    machine = found["machine"]
    where = (
        f"Measured on {found['date']} at revision {found['revision']}: {machine['processor']}, {machine['cores']} "
        f"cores, {machine['memory_gb']:g} GB of memory ({machine['system']}), load average {found['load_average']:g}."
    )
    tables = "\n".join(table(each) for each in found["tables"])
    return f"```sh\n{found['command']}\n```\n\n{tables}\n{where}\n"


def table(found: Mapping[str, Any]) -> str:
    """Write a table as Markdown, with its title and its note."""
    numeric = [
        all(not isinstance(row[i], str) for row in found["rows"]) for i in range(len(found["columns"]))
    ]  # with None
    lines = [f"**{found['title']}**\n"] if found["title"] else []
    if not found["rows"]:
        return "\n".join([*lines, f"{found['note']}\n"])
    lines.append(f"| {' | '.join(found['columns'])} |")
    lines.append(f"| {' | '.join('---:' if right else '---' for right in numeric)} |")
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in found["rows"]]
    return "\n".join([*lines, "", *([f"{found['note']}\n"] if found["note"] else [])])


def _cell(value: Any) -> str:
    """Write a value; numbers with three digits, whole ones in full."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
