"""What a part of the harness measures: a row of docs/reliability.md's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, how often it was done, and what came of it.

    Attributes:
        fault: What was done, for example `SIGKILL during Stage II`.
        times: How often.
        happened: What eagbench did each time.
        lost: What was lost, doubled, left behind or not noticed, one entry each; empty if all went as it should.
    """

    fault: str
    times: int
    happened: str
    lost: tuple[str, ...] = ()
