"""`python -m tests.reliability`: every part with its full counts, and the table of docs/reliability.md made new.

With names of parts as arguments only these run, and the table is printed and not written.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.reliability.parts import NAMES, load_part
from tests.reliability.rows import Row

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| fault | times | what happened | lost |", "|---|---|---|---|"]
    for row in rows:
        lost = "; ".join(row.lost) if row.lost else "nothing"
        lines.append(f"| {row.fault} | {row.times:,} | {row.happened} | {lost} |")
    return "\n".join(lines) + "\n"


def main(names: list[str]) -> int:
    """Run the parts, write or print the table, and return 1 if anything was lost."""
    rows: list[Row] = []
    for name in names or list(NAMES):
        part, started = load_part(name), time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            measured = part.measure(part.full, 0, Path(folder))
        rows += measured
        print(f"{name}: {time.monotonic() - started:.0f} s, {sum(len(row.lost) for row in measured)} lost", flush=True)
    if names:
        print(table(rows))
    else:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        PAGE.write_text(before + BEGIN + table(rows) + END + after, encoding="utf-8")
    return int(any(row.lost for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
