"""Parameters of the data set `meds`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from eagbench.api import StrictParams, vocabulary
from eagbench_plugins.datasets.concept_choice import check_named_once

# Ready files of codes, by the package that wrote the MEDS files.
CODE_FILES = Path(__file__).parent / "code_files"
READY = ("mimic-iv-meds", "mimic-iv-demo-meds", "eicu-meds")


class MedsParams(StrictParams):
    """Parameters of `meds`.

    Attributes:
        root: The folder that holds data/ (and metadata/).
        labels: A Parquet file, or a folder of them, in MEDS' label schema: subject_id, prediction_time, boolean_value.
        task: The task's name.
        outcome: The event in words, as it appears in a prompt ("die before leaving the hospital").
        role: The role that a prompt gives its reader.
        window_hours: Length of the observation window, which ends just before the prediction time.
        codes: A YAML file that says which code holds which concept, or the name of a ready one (`mimic-iv-meds`,
            `mimic-iv-demo-meds`, `eicu-meds`); codes with a LOINC code are found without it.
        concepts: Names of the vocabulary's concepts that make up the record, in this order; by default all that the
            codes represent.
        unknown: Static facts (`age`, `sex`) that the source does not hold. Without it, one that is unknown for every
            case stops the run.
        patient_of: Where a subject is not a patient: the code that names the subject's patient, `PATIENT//*` with the
            patient for the star, or a whole code with the patient in its value.
        patients: The same from a file (CSV or Parquet): columns `subject_id` and `patient_id`, or eICU's own
            patient.csv.gz for eicu-meds, whose subjects are hospital stays.
        male: Codes that say that a subject is male.
        female: Codes that say that a subject is female.
        access: The access level of the records; MEDS files don't state it.
        citation: What a user of the results must cite, with the licence.
        hospitals: Where the patients were treated, in the words of the other data sets ("Beth Israel Deaconess Medical
            Center" for MIMIC, "generated hospital, seed 0" for a conversion of what `mimic4` generates). None (`[]`)
            for generated records that no other domain holds. Transfer between data sets needs it, because they must
            not share patients.
    """

    root: Path
    labels: Path
    task: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    outcome: Annotated[str, Field(min_length=1)]
    role: Annotated[str, Field(min_length=1)] = "an intensive care physician"
    window_hours: Annotated[float, Field(gt=0)] = 48.0
    codes: Path | None = None
    concepts: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    unknown: tuple[Literal["age", "sex"], ...] = ()
    patient_of: Annotated[str, Field(min_length=1)] | None = None
    patients: Path | None = None
    male: tuple[str, ...] = ("GENDER//M", "GENDER//Male", "Gender/M")
    female: tuple[str, ...] = ("GENDER//F", "GENDER//Female", "Gender/F")
    access: Literal["credentialed", "open", "synthetic"] = "credentialed"
    citation: str = "Records in MEDS form, given by the user without a citation."
    hospitals: tuple[str, ...] | None = None

    @field_validator("codes", mode="before")
    @classmethod
    def _ready(cls, value: Any) -> Any:
        return CODE_FILES / f"{value}.yaml" if value in READY else value

    @field_validator("root", "labels", "codes", "patients")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()

    @field_validator("concepts")
    @classmethod
    def _are_known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        check_named_once(value, "a concept")
        unknown = [name for name in value if name not in vocabulary().names]
        if unknown:
            raise ValueError(f"the vocabulary has no {', '.join(unknown)}")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.patient_of is not None and self.patients is not None:
            raise ValueError("give either `patient_of` (a code) or `patients` (a file)")
        if self.hospitals == () and self.access != "synthetic":
            raise ValueError("`hospitals: []` is for generated records (`access: synthetic`)")
        return self
