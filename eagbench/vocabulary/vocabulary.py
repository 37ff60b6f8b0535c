"""The clinical vocabulary: the name, unit and plausible range of each quantity, and its sources in data sets.

The table itself is `concepts.yaml` next to this file. Unit conversion and cleaning do not depend on its `sources`. So a
data set of another package can bring its own mapping and still use the same concepts and units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import yaml

from eagbench.contracts.records import Feature, FloatArray
from eagbench.errors import UserError
from eagbench.vocabulary.concepts import Concept, Conversion, SourceItem

# Below this many values a median outside the plausible range may be a few artefacts and not a wrong unit.
_VALUES_FOR_MEDIAN = 5
# A median is compared with the reference range only where there are enough values to be more than one sick patient's.
_VALUES_FOR_REFERENCE = 25


def _spelling(unit: str) -> str:
    # Micro sign and Greek mu both stand for 10^-6; case and spaces differ between laboratories' systems.
    return "".join(unit.split()).replace("µ", "u").replace("μ", "u").casefold()


class Vocabulary:
    """The concepts by name, with unit conversion and cleaning.

    Args:
        concepts: The entries of the table.
        unit_aliases: Other spellings of each unit, valid for every concept that permits the unit.

    Raises:
        ValueError: The table contradicts itself: it uses a name, synonym or place twice, or has a source in a unit that
            its concept can't convert.
    """

    def __init__(self, concepts: Sequence[Concept], unit_aliases: Mapping[str, Sequence[str]]) -> None:
        self._concepts = {concept.name: concept for concept in concepts}
        if len(self._concepts) != len(concepts):
            raise ValueError("two concepts share a name")
        self._unit_aliases = unit_aliases
        self._units = {concept.name: _conversions(concept, unit_aliases) for concept in concepts}
        _check_names(concepts)
        _check_sources(concepts, self._units)

    def extended(self, concepts: Sequence[Concept]) -> Vocabulary:
        """Return a vocabulary with further concepts behind these, for quantities of one data set.

        Raises:
            ValueError: A further concept contradicts itself, or has a name or synonym of another one.
        """
        return Vocabulary([*self._concepts.values(), *concepts], self._unit_aliases) if concepts else self

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all concepts, in the table's order."""
        return tuple(self._concepts)

    def concept(self, name: str) -> Concept:
        """Return the concept called `name`.

        Raises:
            KeyError: No concept has this name.
        """
        return self._concepts[name]

    def feature(self, name: str) -> Feature:
        """Return a concept as a feature of a cohort."""
        return self.concept(name).feature()

    def features(self, names: Sequence[str]) -> tuple[Feature, ...]:
        """Return concepts as features, in the order of `names`."""
        return tuple(self.feature(name) for name in names)

    def source(self, name: str) -> tuple[SourceItem, ...]:
        """List the places in data set `name` that hold a concept: concepts in table order, places by precedence."""
        return tuple(item for concept in self._concepts.values() for item in concept.sources.get(name, ()))

    def knows_unit(self, concept: str, unit: str) -> bool:
        """Tell whether `to_canonical` converts from `unit`; case and spaces do not matter."""
        return _spelling(unit) in self._units[concept]

    def to_canonical(self, concept: str, values: npt.ArrayLike, unit: str) -> FloatArray:
        """Convert values to the concept's canonical unit.

        Args:
            concept: The concept's name.
            values: Numbers in `unit`, any shape; NaN stays NaN.
            unit: The unit of the values; case and spaces do not matter.

        Returns:
            The same shape, float64.

        Raises:
            UserError: There is no known conversion from `unit`.
        """
        units = self._units[concept]
        conversion = units.get(_spelling(unit))
        if conversion is None:
            known = self.concept(concept)
            permitted = ", ".join([known.unit, *known.conversions])
            raise UserError(
                f"{concept} is given in '{unit}', from which no conversion to {known.unit} is known",
                hint=f"Give {concept} in one of: {permitted}; or check that the column holds {known.label}.",
            )
        return np.asarray(values, dtype=np.float64) * conversion.factor + conversion.offset

    def from_source(self, item: SourceItem, values: npt.ArrayLike, unit: str | None = None) -> FloatArray:
        """Convert the values of one place to the concept's canonical unit, including its mixed units.

        Args:
            item: The place.
            values: The numbers found there.
            unit: The unit that the rows name; if it is None or blank, the place's own unit applies.

        Returns:
            The same shape, float64.

        Raises:
            UserError: There is no known conversion from `unit`.
        """
        raw = np.asarray(values, dtype=np.float64)
        converted = self.to_canonical(item.concept, raw, unit if unit and unit.strip() else item.unit)
        if item.mixed is None:
            return converted
        other = self.to_canonical(item.concept, raw, item.mixed.unit)
        return np.where((raw >= item.mixed.low) & (raw <= item.mixed.high), other, converted)

    def clean(
        self, concept: str, values: npt.ArrayLike, where: str | None = None, unit: str | None = None
    ) -> tuple[FloatArray, int]:
        """Remove values that are impossible in a living patient.

        Args:
            concept: The concept's name.
            values: All values of the concept (or of one place of it) in the canonical unit, any shape.
            where: The file or column, for the message.
            unit: The declared unit of the values before conversion; None for the canonical one.

        Returns:
            The values with implausible ones set to NaN (float64, a new array), and the number of implausible values.

        Raises:
            UserError: The values seem to be in another unit than declared (see `check_unit`).
        """
        self.check_unit(concept, values, where, unit)
        return self.keep_plausible(concept, values)

    def check_unit(
        self, concept: str, values: npt.ArrayLike, where: str | None = None, unit: str | None = None
    ) -> None:
        """Refuse values that seem to be in another unit than declared.

        Args:
            concept: The concept's name.
            values: All values of the concept (or of one place of it) in the canonical unit, any shape.
            where: The file or column, for the message.
            unit: The declared unit of the values before conversion; None for the canonical one.

        Raises:
            UserError: Their median is outside the plausible range (checked with 5 values or more). Or it is far outside
                the reference range, and would be near it if the numbers were in another known unit (checked with 25
                values or more).
        """
        known = self.concept(concept)
        low, high = known.plausible
        numbers = np.asarray(values, dtype=np.float64)
        measured = numbers[~np.isnan(numbers)]
        if measured.size < _VALUES_FOR_MEDIAN:
            return
        said = known.unit if unit is None else unit
        median = float(np.median(measured))
        found = self._unit_that_fits(concept, median, said)
        impossible = not low <= median <= high
        if impossible or (found is not None and measured.size >= _VALUES_FOR_REFERENCE):
            raise UserError(
                f"{concept}: the median of {measured.size} values, taken as {said}, is {median:g} {known.unit}, "
                + (
                    f"which no living patient has (plausible: {low:g} to {high:g})"
                    if impossible
                    else f"far from the reference range {known.reference[0]:g} to {known.reference[1]:g}"
                )
                + (", so the values are in another unit" if found is None else f"; they look like {found}"),
                where=where,
                hint=f"Expected unit: {said}; found: {found or 'another one'}. Convert the values, or name their "
                "unit in the data set.",
            )

    def keep_plausible(self, concept: str, values: npt.ArrayLike) -> tuple[FloatArray, int]:
        """Remove values that are impossible in a living patient, without a look at their unit.

        Args:
            concept: The concept's name.
            values: Some values of the concept in the canonical unit, any shape.

        Returns:
            The values with implausible ones set to NaN (float64, a new array), and the number of implausible values.
        """
        low, high = self.concept(concept).plausible
        kept = np.array(values, dtype=np.float64)
        implausible = (kept < low) | (kept > high)
        kept[implausible] = np.nan
        return kept, int(implausible.sum())

    def _unit_that_fits(self, concept: str, median: float, said: str) -> str | None:
        """Find another unit in which the median makes sense; None if it makes sense as it is, or in no unit.

        Two readings of a number differ by a factor. The reading in `said` is rejected if it is more than half of this
        factor (as a logarithm) outside the reference range, and the other reading is less. Only concepts with two
        positive reference limits are judged: a marker near zero in healthy people may take any value in disease.
        """
        known = self.concept(concept)
        low, high = known.reference
        if low is None or high is None or low <= 0:
            return None
        is_in = self._units[concept][_spelling(said)]
        number = (median - is_in.offset) / is_in.factor
        best: tuple[float, str] | None = None
        for other in (known.unit, *known.conversions):
            conversion = self._units[concept][_spelling(other)]
            if conversion == is_in:
                continue
            reading = conversion.factor * number + conversion.offset
            distance, other_distance = _outside(median, low, high), _outside(reading, low, high)
            apart = abs(np.log(reading / median)) if reading > 0 and median > 0 else np.inf
            if distance > apart / 2 and other_distance < apart / 2 and (best is None or other_distance < best[0]):
                best = (other_distance, other)
        return None if best is None else best[1]


def _outside(value: float, low: float, high: float) -> float:
    """Measure how far a value is outside [low, high], as the logarithm of a factor; infinite unless it is positive."""
    if value <= 0:
        return float("inf")
    return max(0.0, float(np.log(low / value)), float(np.log(value / high)))


def _conversions(concept: Concept, unit_aliases: Mapping[str, Sequence[str]]) -> dict[str, Conversion]:
    units: dict[str, Conversion] = {}
    for unit, conversion in {concept.unit: Conversion(factor=1.0), **concept.conversions}.items():
        for spelling in (unit, *unit_aliases.get(unit, ())):
            if units.setdefault(_spelling(spelling), conversion) != conversion:
                raise ValueError(f"{concept.name}: '{spelling}' has two conversions")
    return units


def _check_names(concepts: Sequence[Concept]) -> None:
    owner: dict[str, str] = {}
    for concept in concepts:
        for name in (concept.name, concept.name.replace("_", " "), concept.label, *concept.synonyms):
            first = owner.setdefault(name.casefold(), concept.name)
            if first != concept.name:
                raise ValueError(f"'{name}' names both {first} and {concept.name}")


def _check_sources(concepts: Sequence[Concept], units: Mapping[str, Mapping[str, Conversion]]) -> None:
    owner: dict[tuple[str, tuple[tuple[str, str | int], ...]], str] = {}
    for concept in concepts:
        for source, items in concept.sources.items():
            for item in items:
                for unit in [item.unit, *([item.mixed.unit] if item.mixed else [])]:
                    if _spelling(unit) not in units[concept.name]:
                        raise ValueError(f"{concept.name}: {source} holds it in '{unit}', which has no conversion")
                place = (source, tuple(sorted(item.keys.items())))
                first = owner.setdefault(place, concept.name)
                if first != concept.name:
                    raise ValueError(f"{source} {item.keys} stands for both {first} and {concept.name}")


@cache
def vocabulary() -> Vocabulary:
    """Load the vocabulary of `concepts.yaml`; it is read once per process."""
    # libyaml's loader is ten times as fast; PyYAML is built without it on some platforms.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = files("eagbench.vocabulary").joinpath("concepts.yaml").read_text(encoding="utf-8")
    table = yaml.load(text, Loader=loader)
    return Vocabulary([Concept.model_validate(entry) for entry in table["concepts"]], table["unit_aliases"])
