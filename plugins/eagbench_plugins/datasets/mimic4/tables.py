"""The tables of MIMIC-IV v3.1 that eagbench reads or writes: where they are and which columns they have.

Source: the table pages of MIMIC-IV's documentation (mimic.mit.edu) and the schemas in MIT-LCP/mimic-code. The test
suite records both as facts with their paths (tests/reference/mimic_code.yaml).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file of MIMIC-IV.

    Attributes:
        name: Name of the table.
        file: Path below the root, without compression suffix.
        columns: All columns, in the file's order.
        required: The columns that the loader reads; a file without one of them is refused.
    """

    name: str
    file: str
    columns: tuple[str, ...]
    required: tuple[str, ...] = ()


_ALL = (
    Table(
        "patients",
        "hosp/patients.csv",
        ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"),
        ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"),
    ),
    Table(
        "admissions",
        "hosp/admissions.csv",
        (
            "subject_id",
            "hadm_id",
            "admittime",
            "dischtime",
            "deathtime",
            "admission_type",
            "admit_provider_id",
            "admission_location",
            "discharge_location",
            "insurance",
            "language",
            "marital_status",
            "race",
            "edregtime",
            "edouttime",
            "hospital_expire_flag",
        ),
        (
            "subject_id",
            "hadm_id",
            "admittime",
            "dischtime",
            "deathtime",
            "discharge_location",
            "hospital_expire_flag",
        ),
    ),
    Table(
        "icustays",
        "icu/icustays.csv",
        ("subject_id", "hadm_id", "stay_id", "first_careunit", "last_careunit", "intime", "outtime", "los"),
        ("subject_id", "hadm_id", "stay_id", "first_careunit", "intime", "outtime"),
    ),
    Table(
        "labevents",
        "hosp/labevents.csv",
        (
            "labevent_id",
            "subject_id",
            "hadm_id",
            "specimen_id",
            "itemid",
            "order_provider_id",
            "charttime",
            "storetime",
            "value",
            "valuenum",
            "valueuom",
            "ref_range_lower",
            "ref_range_upper",
            "flag",
            "priority",
            "comments",
        ),
        ("subject_id", "itemid", "charttime", "storetime", "value", "valuenum", "valueuom"),
    ),
    Table(
        "chartevents",
        "icu/chartevents.csv",
        (
            "subject_id",
            "hadm_id",
            "stay_id",
            "caregiver_id",
            "charttime",
            "storetime",
            "itemid",
            "value",
            "valuenum",
            "valueuom",
            "warning",
        ),
        ("subject_id", "itemid", "charttime", "storetime", "value", "valuenum", "valueuom"),
    ),
    Table("d_labitems", "hosp/d_labitems.csv", ("itemid", "label", "fluid", "category")),
    Table(
        "d_items",
        "icu/d_items.csv",
        (
            "itemid",
            "label",
            "abbreviation",
            "linksto",
            "category",
            "unitname",
            "param_type",
            "lownormalvalue",
            "highnormalvalue",
        ),
    ),
)

TABLES: Mapping[str, Table] = {table.name: table for table in _ALL}
READ_TABLES: tuple[Table, ...] = tuple(table for table in _ALL if table.required)

# Written by the generator beside the tables; no file of this name exists in MIMIC-IV.
TRUTH_FILE = "synthetic_truth.csv.gz"
TRUTH_COLUMNS = ("subject_id", "hadm_id", "probability_in_hospital_death", "probability_readmission_or_death_30_days")
