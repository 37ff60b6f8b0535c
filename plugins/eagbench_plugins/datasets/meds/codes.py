"""Which code of a MEDS data set holds which concept, and in which unit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from eagbench.api import SourceItem, UserError, Vocabulary, read_yaml_file

_LOINC = re.compile(r"^LOINC//?([0-9]{1,5}-[0-9])(?://.*)?$")
# MEDS conversions write this where a source has no unit.
_NO_UNIT = "UNK"
_EXAMPLE = (
    "Write for example `LAB//50931//mg/dL: {concept: glucose}`, or `LAB//RESULT//50931//*` for whatever unit stands "
    "behind, with `unit:` where the code names none."
)
# MIMIC-IV-MEDS 0.2.0 and eICU-MEDS 0.1.0 write `LAB//RESULT//50931//mg/dL`, earlier versions `LAB//50931//mg/dL`.
_RESULT = "LAB//RESULT//"


class _Mixed(BaseModel):
    """Numbers in [low, high] that are in another unit, as in the vocabulary's own places."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    unit: str
    low: float
    high: float


class _Entry(BaseModel):
    """What the user's file says about a code."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    concept: str
    unit: Annotated[str, Field(min_length=1)] | None = None
    values: dict[str, float] = Field(default_factory=dict)
    mixed: _Mixed | None = None


def read_code_file(path: Path, vocabulary: Vocabulary) -> dict[str, SourceItem]:
    """Read the user's mapping, in its order, which is the order of precedence.

    Raises:
        UserError: The file is not a YAML mapping of codes to concepts, or names an unknown concept or unit.
    """
    try:
        entries = TypeAdapter(dict[str, _Entry]).validate_python(read_yaml_file(path))
    except UserError as error:
        raise UserError(error.what, where=error.where, hint=error.hint or _EXAMPLE) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{key}: {first['msg']}", where=str(path), hint=_EXAMPLE) from error
    items = {}
    for code, entry in entries.items():
        if entry.concept not in vocabulary.names:
            raise UserError(f"{code}: the vocabulary has no concept '{entry.concept}'", where=str(path), hint=_EXAMPLE)
        unit = entry.unit or (None if code.endswith("*") else unit_in_code(code))
        for named in (unit, None if entry.mixed is None else entry.mixed.unit):
            if named is not None:
                _check_unit(vocabulary, entry.concept, named, f"{path}, code '{code}'")
        place = _place(code, entry.concept, unit, vocabulary)
        if entry.mixed is not None:
            place = SourceItem.model_validate({**place.model_dump(), "mixed": entry.mixed.model_dump()})
        items[code] = place.model_copy(update={"values": entry.values})
    return items


def places_of(
    codes: Iterable[str],
    parents: Mapping[str, tuple[str, ...]],
    written: Mapping[str, SourceItem],
    vocabulary: Vocabulary,
) -> list[SourceItem]:
    """Find the place of every code that represents a concept: the user's in their order, then those found by LOINC.

    An entry of the user's that ends in `*` stands for every code that begins so and is not written out.

    A code is found by LOINC if it, or one of its parents, is `LOINC/...` or `LOINC//...` with the code of a concept.
    """
    present = set(codes)
    by_loinc = {loinc: name for name in vocabulary.names if (loinc := vocabulary.concept(name).loinc)}
    order = {name: i for i, name in enumerate(vocabulary.names)}
    found: list[tuple[int, str, SourceItem]] = []
    named = _named(present, written, vocabulary)
    for code in present - named.keys():
        matches = {match[1] for text in (code, *parents.get(code, ())) if (match := _LOINC.match(text))}
        concepts = {by_loinc[loinc] for loinc in matches if loinc in by_loinc}
        if len(concepts) == 1:
            concept = concepts.pop()
            found.append((order[concept], code, _place(code, concept, unit_in_code(code), vocabulary)))
    return [*named.values(), *(item for _, _, item in sorted(found))]


def _named(present: set[str], written: Mapping[str, SourceItem], vocabulary: Vocabulary) -> dict[str, SourceItem]:
    """Find the places of the codes in the data that the user's file names, in its order."""
    named: dict[str, SourceItem] = {}
    for entry, item in written.items():
        if not entry.endswith("*"):
            codes = [entry] if entry in present else []
        else:
            codes = sorted(code for code in present if code.startswith(entry[:-1]) and code not in written)
        for code in codes:
            unit = None if item.mixed is not None or not entry.endswith("*") else unit_in_code(code)
            place = item if unit is None else _place(code, item.concept, unit, vocabulary)
            # The first of two entries that fit a code counts.
            named.setdefault(code, place.model_copy(update={"keys": {"code": code}, "values": item.values}))
    return named


def is_named(entry: str, present: Iterable[str]) -> bool:
    """Tell whether an entry of the user's file stands for a code of the data."""
    return any(code.startswith(entry[:-1]) if entry.endswith("*") else code == entry for code in present)


def unit_in_code(code: str) -> str | None:
    """Read the unit in `LAB//RESULT//50931//mg/dL`, `LAB//50931//mg/dL` or `LOINC//2345-7//mg/dL`; None without one."""
    parts = ("LAB//" + code.removeprefix(_RESULT) if code.startswith(_RESULT) else code).split("//", 2)
    return parts[2] if len(parts) == 3 and parts[2].strip() and parts[2] != _NO_UNIT else None


def has_unit(item: SourceItem) -> bool:
    """Tell whether the unit of a place of `places_of` is known."""
    return item.unit != _NO_UNIT


def _place(code: str, concept: str, unit: str | None, vocabulary: Vocabulary) -> SourceItem:
    # A score or a ratio has no unit to name.
    pure = vocabulary.concept(concept).unit == "1"
    return SourceItem(concept=concept, unit=unit or ("1" if pure else _NO_UNIT), keys={"code": code})


def _check_unit(vocabulary: Vocabulary, concept: str, unit: str, where: str) -> None:
    try:
        vocabulary.to_canonical(concept, [], unit)
    except UserError as error:
        raise UserError(error.what, where=where, hint=error.hint) from error
