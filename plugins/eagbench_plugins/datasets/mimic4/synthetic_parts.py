"""Cuts the synthetic hospital into parts of some patients each, which are charted independently of each other.

So no more than a few parts are in memory, and threads make them side by side (NumPy, polars and zlib leave Python's
lock). A hospital of up to `WHOLE` patients is one part, with the draws of earlier versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from eagbench_plugins.datasets.mimic4.synthetic_course import Admissions, Patients, Stays

Density = Literal["sparse", "mimic"]

# Patients of a hospital that is charted as a whole, and of a part of a larger one.
WHOLE: dict[Density, int] = {"sparse": 2000, "mimic": 100}
PART: dict[Density, int] = {"sparse": 1000, "mimic": 100}


@dataclass(frozen=True, slots=True)
class Part:
    """Some patients with all their admissions and stays, numbered within the part.

    Attributes:
        number: 0, 1, ...
        of: How many parts the hospital has.
        seed: The hospital's seed.
        people: The patients.
        admissions: Their admissions; `patient` is a row of `people`.
        stays: Their ICU stays; `admission` is a row of `admissions`.
    """

    number: int
    of: int
    seed: int
    people: Patients
    admissions: Admissions
    stays: Stays

    def draws(self, stream: int) -> np.random.Generator:
        """Return the generator of one kind of draws, independent of the other kinds and parts."""
        entropy = [self.seed, stream] if self.of == 1 else [self.seed, stream, self.number]
        return np.random.default_rng(np.random.SeedSequence(entropy))


def parts(people: Patients, admissions: Admissions, stays: Stays, seed: int, density: Density) -> Iterator[Part]:
    """Cut a hospital into parts, in order of patients."""
    count = len(people.subject_id)
    size = count if count <= WHOLE[density] else PART[density]
    of = -(-count // size)
    for number in range(of):
        first, last = number * size, min((number + 1) * size, count)
        begin, end = (int(i) for i in np.searchsorted(admissions.patient, [first, last]))
        low, high = (int(i) for i in np.searchsorted(stays.admission, [begin, end]))
        yield Part(
            number,
            of,
            seed,
            _cut(people, first, last),
            _cut(admissions, begin, end, patient=first),
            _cut(stays, low, high, admission=begin),
        )


def _cut[Table: (Patients, Admissions, Stays)](table: Table, begin: int, end: int, **rebased: int) -> Table:
    """Return some rows of a table; positions in another table count from that table's part."""
    cut = {field.name: getattr(table, field.name)[begin:end] for field in fields(table)}
    return replace(table, **(cut | {name: cut[name] - first for name, first in rebased.items()}))
