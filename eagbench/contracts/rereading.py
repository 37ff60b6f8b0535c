"""Names the readings of changed records that tell whether an answer rests on the features that it cites.

A metric asks for them in its traits (`MetricTraits.columns`), as for any other column. Planning then adds the stage
`reread` to each cell on unchanged records, which asks the method again about changed ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

Change = Literal["swapped", "removed"]
Listed = Literal["cited", "control", "baseline"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A changed record that a method is asked about.

    Attributes:
        change: Whether the changed series are `swapped` with those of a training patient, or `removed`.
        listed: The features of the answer (`cited`), as many measured and uncited ones of like global importance
            (`control`), or as many of the frequency baseline that were measured (`baseline`).
        all_but: Whether every other measured feature is changed instead of the listed ones.
    """

    change: Change
    listed: Listed
    all_but: bool

    @property
    def column(self) -> str:
        """The name of its column, for example `reread_swapped_all_but_cited`."""
        return f"reread_{self.change}_{'all_but_' if self.all_but else ''}{self.listed}"


# The unchanged record, asked by expectation like all others, and once more in another order of the cases.
AS_IS, AGAIN = "reread_as_is", "reread_again"
CHANGES: tuple[Change, ...] = ("swapped", "removed")
LISTS: tuple[Listed, ...] = ("cited", "control", "baseline")
READINGS = {
    reading.column: reading for reading in (Reading(*choice) for choice in product(CHANGES, LISTS, (False, True)))
}
REREAD_COLUMNS = (AS_IS, AGAIN, *READINGS)
