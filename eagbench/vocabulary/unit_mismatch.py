"""Whether a concept's numbers in one domain look like those of another one in a different unit.

A loader checks its own numbers (`vocabulary.clean`), and can't see a factor that leaves them plausible: urea in mmol/L
is a low urea in mg/dL. Two domains side by side show more. A concept is suspected where a conversion of the vocabulary
that changes numbers by a large factor brings the quartiles of one domain close to the other's. A quartile that is 0 or
less in either domain (a third of the hours without urine) is passed over; two must be left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import Cases, FloatArray
from eagbench.errors import UserError
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
    """Numbers that seem to be in another unit than is said.

    Attributes:
        concept: The concept's name.
        is_second: Whether it is the second domain whose numbers look wrong.
        found: The unit that they seem to be in.
        expected: The unit that is said.
        medians: Of the first and of the second domain, as they are.
    """

    concept: str
    is_second: bool
    found: str
    expected: str
    medians: tuple[float, float]


def suspicions(first: Cases, second: Cases, concepts: tuple[str, ...]) -> Iterator[Suspicion]:
    """Concepts whose numbers in one of two cohorts look like those of the other in a different unit.

    Args:
        first: A cohort.
        second: Another one, whose units are said to be the same.
        concepts: Names of the concepts to look at; those that the vocabulary does not know are passed over.
    """
    known = vocabulary()
    for name in concepts:
        if name not in known.names:
            continue
        sides = [_measured(cases, name) for cases in (first, second)]
        if min(map(len, sides)) < FEWEST_VALUES:
            continue
        quartiles = np.array([np.quantile(values, _QUARTILES) for values in sides])  # (2, 3)
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
    """Stops at the first concept that seems to be in two units.

    Args:
        names: Of the two domains.
        cohorts: Their cases.
        concepts: Names of the shared concepts to look at.

    Raises:
        UserError: With the concept, the expected and the suspected unit, and both medians.
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


def _measured(cases: Cases, concept: str) -> FloatArray:
    """All measured values of a concept, shape (M,)."""
    columns = [case.values[:, case.features.index(concept)] for case in cases if concept in case.features]
    values = np.concatenate(columns).astype(np.float64) if columns else np.empty(0)
    return values[~np.isnan(values)]
