"""Parameters of the data set `mimic4`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from eagbench.api import StrictParams
from eagbench_plugins.datasets.availability import Availability
from eagbench_plugins.datasets.concept_choice import check_offered

TaskName = Literal["in_hospital_mortality", "readmission_30_days"]

SYNTHETIC = "synthetic"

# Charted vital signs and the panels that most ICU patients have; all of the vocabulary's other MIMIC-IV concepts
# can be asked for, at the price of a longer record.
DEFAULT_CONCEPTS = (
    "heart_rate",
    "systolic_blood_pressure",
    "diastolic_blood_pressure",
    "mean_blood_pressure",
    "respiratory_rate",
    "oxygen_saturation",
    "temperature",
    "gcs_eye",
    "gcs_verbal",
    "gcs_motor",
    "fraction_inspired_oxygen",
    "capillary_refill",
    "weight",
    "height",
    "ph",
    "pao2",
    "paco2",
    "arterial_oxygen_saturation",
    "base_excess",
    "lactate",
    "glucose",
    "sodium",
    "potassium",
    "chloride",
    "bicarbonate",
    "anion_gap",
    "urea_nitrogen",
    "creatinine",
    "calcium",
    "ionized_calcium",
    "magnesium",
    "phosphate",
    "albumin",
    "bilirubin_total",
    "alanine_aminotransferase",
    "aspartate_aminotransferase",
    "alkaline_phosphatase",
    "troponin_t",
    "white_blood_cells",
    "hemoglobin",
    "hematocrit",
    "platelets",
    "inr",
    "prothrombin_time",
    "partial_thromboplastin_time",
)


class Mimic4Params(StrictParams):
    """Parameters of `mimic4`.

    Attributes:
        root: The folder of MIMIC-IV that holds hosp/ and icu/, or `synthetic`.
        task: `in_hospital_mortality` or `readmission_30_days`.
        window_hours: Length of the observation window in hours.
        min_age: Youngest age in years at admission.
        concepts: Names of the vocabulary's concepts that make up the record, in this order.
        availability: `known` leaves out laboratory results that were known only at or after the prediction time;
            `drawn` takes all that were drawn before it.
        synthetic_patients: Size of the synthetic hospital. 1,500 leave about 1,150 patients for mortality.
        synthetic_seed: Seed of the synthetic hospital.
        synthetic_density: `sparse` charts only items that can be read, about 470 events a stay; `mimic` charts as many
            as MIMIC-IV has, about 4,600, most of them of items that nobody reads.
        access: What the files are. MIMIC-IV is credentialed; `open` declares that they are the open demo.
    """

    root: Annotated[str, Field(min_length=1)]
    task: TaskName = "in_hospital_mortality"
    window_hours: Annotated[float, Field(gt=0)] = 48.0
    min_age: Annotated[float, Field(ge=0)] = 18.0
    concepts: Annotated[tuple[str, ...], Field(min_length=1)] = DEFAULT_CONCEPTS
    availability: Availability = "known"
    synthetic_patients: Annotated[int, Field(ge=10, le=100_000)] = 1500
    synthetic_seed: Annotated[int, Field(ge=0)] = 0
    synthetic_density: Literal["sparse", "mimic"] = "sparse"
    access: Literal["credentialed", "open"] = "credentialed"

    @field_validator("concepts")
    @classmethod
    def _are_in_mimic4(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_offered(value, "mimic4", "MIMIC-IV")
        return value
