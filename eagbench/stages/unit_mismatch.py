"""Detects concepts whose numbers in one domain look like those of another domain in a different unit.

A loader checks its own numbers (`vocabulary.clean`), but can't see a factor that leaves them plausible: urea in mmol/L
looks like a low urea in mg/dL. Comparing two domains shows more. A concept is suspicious if a vocabulary conversion
with a large factor brings the quartiles of one domain close to the other's. Quartiles that are 0 or less in either
domain are ignored (for example, with a third of the hours without urine); at least two must remain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import Cases
from eagbench.errors import UserError
from eagbench.stats.value_tally import ValueTally
from eagbench.vocabulary.vocabulary import vocabulary

FEWEST_VALUES = 25
# Hospitals' quartiles differ; a factor of 1.35 either way is taken for a difference between patients.
_CLOSE = np.log(1.35)
# A conversion by less than this can't be told from such a difference (and is not looked for).
_FAR = 2 * _CLOSE
_QUARTILES = (0.25, 0.5, 0.75)
_FEWEST_QUARTILES = 2


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Numbers that seem to be in another unit than the declared one.

    Attributes:
        concept: The concept's name.
        is_second: Whether the second domain's numbers look wrong (else the first's).
        found: The unit that they seem to be in.
        expected: The declared unit.
        medians: Medians of the first and the second domain, unconverted.
    """

    concept: str
    is_second: bool
    found: str
    expected: str
    medians: tuple[float, float]


def suspicions(first: Cases, second: Cases, concepts: tuple[str, ...]) -> Iterator[Suspicion]:
    """Find concepts whose numbers in one of two cohorts look like those of the other in a different unit.

    Args:
        first: A cohort.
        second: Another cohort, which declares the same units.
        concepts: Names of the concepts to compare; those unknown to the vocabulary are ignored.
    """
    known = vocabulary()
    looked_at = tuple(name for name in concepts if name in known.names)
    measured = [_measured(cases, looked_at) for cases in (first, second)]
    for name in looked_at:
        sides = [of_cohort[name] for of_cohort in measured]
        if min(values.n for values in sides) < FEWEST_VALUES:
            continue
        quartiles = np.array([values.quantiles(_QUARTILES) for values in sides])  # (2, 3)
        positive = quartiles[:, (quartiles > 0).all(axis=0)]  # without a logarithm there is no factor to look for
        if positive.shape[1] < _FEWEST_QUARTILES:
            continue
        concept = known.concept(name)
        for unit in concept.conversions:
            for is_second in (True, False):
                asked, other = positive[int(is_second)], positive[int(not is_second)]
                converted = known.to_canonical(name, asked, unit)
                if (
                    (converted > 0).all()
                    and (np.abs(np.log(converted / asked)) >= _FAR).all()
                    and (np.abs(np.log(converted / other)) <= _CLOSE).all()
                ):
                    yield Suspicion(name, is_second, unit, concept.unit, (quartiles[0, 1], quartiles[1, 1]))


def check(names: tuple[str, str], cohorts: tuple[Cases, Cases], concepts: tuple[str, ...]) -> None:
    """Raise an error for the first concept that seems to be in two units.

    Args:
        names: Names of the two domains.
        cohorts: Their cases.
        concepts: Names of the shared concepts to compare.

    Raises:
        UserError: A concept seems to be in two units. The message gives the concept, the expected and the suspected
            unit, and both medians.
    """
    for found in suspicions(*cohorts, concepts):
        wrong, other = (names[1], names[0]) if found.is_second else names
        median, others = found.medians[::-1] if found.is_second else found.medians
        raise UserError(
            f"{found.concept} seems to be in {found.found} in the domain '{wrong}', expected {found.expected}: its "
            f"median there is {median:.4g}, and {others:.4g} in the domain '{other}'",
            where="domains",
            hint="convert on load, with `vocabulary().to_canonical` (docs/vocabulary.md); if the patients really "
            f"differ so much, write `transfer: {{units_confirmed: [{found.concept}]}}`",
        )


def _measured(cases: Cases, concepts: tuple[str, ...]) -> dict[str, ValueTally]:
    """Count the measured values of each concept, a partition at a time."""
    found = {name: ValueTally() for name in concepts}
    for part in cases.partitions():
        rows = np.concatenate([np.empty((0, len(concepts)), np.float32), *(c.values_in_order(concepts) for c in part)])
        for name, column in zip(concepts, rows.T, strict=True):
            found[name].add(column[~np.isnan(column)].astype(np.float64))
    return found
