"""Entries of the concept table: a quantity, its unit and conversions, and its sources in data sets."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from eagbench.contracts.records import Feature


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Conversion(_Table):
    """An affine map into the canonical unit: `factor * value + offset`."""

    factor: Annotated[float, Field(gt=0)]
    offset: float = 0.0


class MixedUnit(_Table):
    """Numbers in [low, high] that are in `unit`, although their place declares another unit."""

    unit: str
    low: float
    high: float


class SourceItem(_Table):
    """One place in a data set that holds a concept.

    Attributes:
        concept: The concept's name.
        unit: The unit of the place's values, unless a row names its own.
        keys: Identifies the place, for example `{"table": "labevents", "itemid": 50931}` or `{"column": "glucose"}`.
        values: Number for each text value, for places that hold text.
        mixed: A range of numbers that are in another unit.
    """

    concept: str
    unit: str
    keys: dict[str, str | int]
    values: dict[str, float] = Field(default_factory=dict)
    mixed: MixedUnit | None = None


class Concept(_Table):
    """A clinical quantity: the attributes of `eagbench.api.Feature`, its conversions and its sources."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    label: str
    loinc: Annotated[str, Field(pattern=r"^[0-9]{1,5}-[0-9]$")] | None
    unit: str
    decimals: Annotated[int, Field(ge=0, le=6)] | None = None
    plausible: tuple[float, float]
    reference: tuple[float | None, float | None]
    synonyms: tuple[str, ...] = ()
    conversions: dict[str, Conversion] = Field(default_factory=dict)
    sources: dict[str, tuple[SourceItem, ...]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_keys(cls, data: Any) -> Any:
        # The table writes a place flat ({table, itemid, unit}); what is not unit, values or mixed finds the place.
        if not isinstance(data, dict):
            return data
        known = {"unit", "values", "mixed"}
        sources = {
            source: [
                {name: item[name] for name in known & item.keys()}
                | {"concept": data.get("name"), "keys": {key: item[key] for key in item if key not in known}}
                for item in items
            ]
            for source, items in data.get("sources", {}).items()
        }
        return {**data, "sources": sources}

    @field_validator("plausible")
    @classmethod
    def _increasing(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(f"plausible range {value} is empty")
        return value

    @model_validator(mode="after")
    def _reference_is_plausible(self) -> Self:
        for limit in self.reference:
            if limit is not None and not self.plausible[0] <= limit <= self.plausible[1]:
                raise ValueError(f"{self.name}: reference limit {limit} lies outside the plausible range")
        return self

    def feature(self) -> Feature:
        """Return the concept as a feature of a cohort."""
        return Feature(
            name=self.name,
            label=self.label,
            unit=self.unit,
            plausible=self.plausible,
            reference=self.reference,
            synonyms=self.synonyms,
            loinc=self.loinc,
            decimals=self.decimals,
        )
