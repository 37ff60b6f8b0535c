"""Parameters of the data set `eicu`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from eagbench.api import StrictParams
from eagbench_plugins.datasets.availability import Availability
from eagbench_plugins.datasets.concept_choice import check_named_once, check_offered

TableName = Literal["lab", "vitalPeriodic", "vitalAperiodic", "physicalExam"]


class EicuParams(StrictParams):
    """Parameters of `eicu`.

    Attributes:
        root: The folder of eICU-CRD's CSV files, gzipped or not.
        task: `in_hospital_mortality`.
        window_hours: Length of the observation window, from unit admission; prediction is at its end.
        min_age: Youngest age in years.
        tables: The tables to read besides patient. Each must be present.
        concepts: Names of the vocabulary's concepts that make up the record, in this order; by default all that the
            tables contain.
        periodic_minutes: Of vitalPeriodic's medians, one every 5 minutes, the last of each interval of this length is
            kept.
        availability: `known` leaves out laboratory results that were known only at or after the prediction time;
            `drawn` takes all that were drawn before it.
        access: What the files are. eICU-CRD is credentialed; `open` declares that they are (a part of) the open demo.
    """

    root: Path
    task: Literal["in_hospital_mortality"] = "in_hospital_mortality"
    window_hours: Annotated[float, Field(gt=0)] = 24.0
    min_age: Annotated[float, Field(ge=0)] = 18.0
    tables: Annotated[tuple[TableName, ...], Field(min_length=1)] = ("lab", "vitalPeriodic", "vitalAperiodic")
    concepts: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    periodic_minutes: Annotated[int, Field(ge=5)] = 60
    availability: Availability = "known"
    access: Literal["credentialed", "open"] = "credentialed"

    @field_validator("root")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()

    @field_validator("tables")
    @classmethod
    def _named_once(cls, value: tuple[TableName, ...]) -> tuple[TableName, ...]:
        check_named_once(value, "a table")
        return value

    @field_validator("concepts")
    @classmethod
    def _are_in_eicu(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None:
            check_offered(value, "eicu", "eICU")
        return value
