"""TJH: blood tests of COVID-19 patients of Tongji hospital, Wuhan (Yan et al., Nature Machine Intelligence 2020).

The published Excel file has one row per time of measurement, and the patient's number only on a patient's first row.
Column names are the file's own, its units those of the hospital's laboratory (see the vocabulary).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from eagbench.api import (
    Access,
    Case,
    Cases,
    Cohort,
    DatasetTraits,
    DataSource,
    Provenance,
    SourceFile,
    StageRun,
    StrictParams,
    Task,
    UserError,
    files_under,
    vocabulary,
)
from eagbench_plugins.datasets.csv_text import UNKNOWN
from eagbench_plugins.datasets.excel_sheet import column_of_dates, column_of_numbers, read_sheet
from eagbench_plugins.datasets.measurements import StayMeasurements, series_by_stay

if TYPE_CHECKING:
    import pandas as pd

_FILE = "time_series_375_prerpocess_en.xlsx"
_DATES = ("RE_DATE", "Admission time", "Discharge time")
_NUMBERS = ("PATIENT_ID", "age", "gender", "outcome")
_STATIC = ("age", "sex")
_CELLS = ("White blood cell count", "Red blood cell count")
_CITATION = (
    "Yan L, et al. An interpretable mortality prediction model for COVID-19 patients. Nature Machine "
    "Intelligence 2, 283-288 (2020). Data: GitHub HAIRLAB/Pre_Surv_COVID_19, MIT licence."
)


class TjhParams(StrictParams):
    """Parameters of `tjh`.

    Attributes:
        root: The folder with the published Excel file, or the file itself.
        task: In-hospital mortality is the only outcome in the file.
        window_hours: Length of the observation window, from admission; prediction is at its end.
        cells_of_urine: What becomes of the white and red cells of urinalyses, which stand in the columns of the blood
            counts without a mark: `left_out`, or `as_blood`, as most published work reads them.
    """

    root: Path
    task: Literal["in_hospital_mortality"] = "in_hospital_mortality"
    window_hours: Annotated[float, Field(gt=0)] = 24.0
    cells_of_urine: Literal["left_out", "as_blood"] = "left_out"

    @field_validator("root")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()


class Tjh:
    """The TJH data set: 375 patients, blood tests during the whole stay.

    Needs `time_series_375_prerpocess_en.xlsx` in `root` (`eagbench data fetch tjh` brings it; MIT licence). A case is a
    patient with a measurement in the window who is still in hospital at its end (docs/datasets/tjh.md).
    """

    name: ClassVar[str] = "tjh"
    Params: ClassVar[type[TjhParams]] = TjhParams
    traits = DatasetTraits(hospitals=("Tongji Hospital, Wuhan",))
    sources: ClassVar[tuple[DataSource, ...]] = (
        DataSource(
            name="tjh",
            title="TJH, blood tests of 375 COVID-19 patients, Tongji hospital",
            # The commit that brought the file.
            url="https://raw.githubusercontent.com/HAIRLAB/Pre_Surv_COVID_19/436ead7ed68cff6842a525b56e352ca3594763d9/data/",
            page="https://github.com/HAIRLAB/Pre_Surv_COVID_19/tree/master/data",
            files=(SourceFile(path=_FILE, sha256="a9b4f468ca2d9d99fa5d943512d932b722797aba6ee1025cc1811c5b749c6cdf"),),
            licence="MIT",
            licence_url="https://github.com/HAIRLAB/Pre_Surv_COVID_19/blob/master/LICENSE",
            citation=_CITATION,
        ),
    )

    def __init__(self, params: TjhParams) -> None:
        self.params = params

    def access(self) -> Access:
        """Return `open`: the file is published under the MIT licence."""
        return "open"

    def files(self) -> Sequence[Path]:
        """List the Excel file.

        Raises:
            UserError: The root or the file is missing.
        """
        root = self.params.root
        return (root,) if root.is_file() else files_under(root, [_FILE], _WHERE_FROM)

    def load(self, run: StageRun) -> Cohort:
        """Read the cohort: one case per patient with a measurement in the window who is still in hospital at its end.

        Raises:
            UserError: The file is not readable, lacks a column, holds text where numbers belong, or is in other units.
        """
        del run
        (path,) = self.files()
        table = _read(path)
        stays = table.drop_duplicates("PATIENT_ID").reset_index(drop=True)
        window = self.params.window_hours
        # A float in hours; NaN where the row has no date.
        table["hours"] = _hours(table["RE_DATE"] - table["Admission time"])
        urine = _urinalyses(table)
        if self.params.cells_of_urine == "left_out":
            table.loc[urine, list(_CELLS)] = np.nan
        names = tuple(dict.fromkeys(item.concept for item in vocabulary().source("tjh")))
        measured, implausible = _measurements(table, stays, names, window, path)
        series = series_by_stay(measured, len(stays), len(names))
        has_series = np.array([len(times) > 0 for times, _ in series])
        remains = (_hours(stays["Discharge time"] - stays["Admission time"]) > window).to_numpy()
        chosen = np.flatnonzero(has_series & remains)
        cases = tuple(
            Case(
                case_id=str(int(stays["PATIENT_ID"][i])),
                patient_id=str(int(stays["PATIENT_ID"][i])),
                features=names,
                times=series[i][0],
                values=series[i][1],
                # The file codes 1 male, 2 female.
                static={"age": float(stays["age"][i]), "sex": float(stays["gender"][i] == 1)},
            )
            for i in chosen
        )
        exclusions = (
            ("no measurement in the window", int((~has_series).sum())),
            ("stay ended at or before the prediction time", int((has_series & ~remains).sum())),
        )
        return Cohort(
            cases=Cases(vocabulary().features(names), _STATIC, _task(self.params), cases),
            labels=stays["outcome"].to_numpy(dtype=np.int64)[chosen],
            provenance=_provenance(table, len(stays), exclusions, implausible, self._note(int(urine.sum()))),
        )

    def _note(self, rows: int) -> str:
        become = {"left_out": "are left out", "as_blood": "are read as cells of blood"}[self.params.cells_of_urine]
        return f"White and red cells of {rows} urinalyses stand in the columns of the blood counts and {become}."


_WHERE_FROM = f"`eagbench data fetch tjh` brings '{_FILE}' (GitHub HAIRLAB/Pre_Surv_COVID_19); data.root is its folder."


def _task(params: TjhParams) -> Task:
    return Task(
        name=params.task,
        outcome="die before leaving the hospital",
        role="a physician on a COVID-19 ward",
        window_hours=params.window_hours,
    )


def _provenance(
    table: pd.DataFrame,
    patients: int,
    exclusions: tuple[tuple[str, int], ...],
    implausible: Mapping[str, int],
    urine: str,
) -> Provenance:
    undated = table["hours"].isna()
    after = table["RE_DATE"] > table["Discharge time"]
    return Provenance(
        source=Tjh.name,
        access="open",
        citation=_CITATION,
        patient_is_stay=False,
        n_patients_read=patients,
        exclusions=exclusions,
        implausible={name: count for name, count in implausible.items() if count},
        notes=(
            f"{int(undated.sum())} rows without a date are not read; {int(after.sum())} lie after discharge "
            "and so outside every case.",
            "Column '2019-nCoV nucleic acid detection' is not read: it holds the same code in every row.",
            "Column 'PH value' mixes blood gases with urinalysis and is kept apart from blood pH.",
            urine,
        ),
    )


def _urinalyses(table: pd.DataFrame) -> pd.Series[bool]:
    """Find the rows of urinalyses: they have a pH and cells, but no haemoglobin, which a blood count always has.

    All 170 such rows have a pH from 5 to 7, and their cells differ from the patient's blood counts of the days around
    (findings/tjh_white_cells_of_urine_among_those_of_blood.sh). No range of plausible counts tells them from blood.
    """
    return table["hemoglobin"].isna() & table["PH value"].notna() & table[list(_CELLS)].notna().any(axis=1)


def _measurements(
    table: pd.DataFrame, stays: pd.DataFrame, names: tuple[str, ...], window_hours: float, path: Path
) -> tuple[StayMeasurements, Counter[str]]:
    """Convert the measurements in the window to canonical units and count the implausible ones by concept.

    Args:
        table: The file's rows, with `hours` since admission.
        stays: The first row of each patient, in order of `PATIENT_ID`.
        names: The features, in the order of the columns.
        window_hours: Length of the observation window.
        path: The file, for error messages.

    Raises:
        UserError: A column is in another unit.
    """
    vocab = vocabulary()
    in_window = ((table["hours"] >= 0) & (table["hours"] <= window_hours)).to_numpy()  # (M,)
    row_stay = stays["PATIENT_ID"].searchsorted(table["PATIENT_ID"])  # (M,)
    row_hours = table["hours"].to_numpy()  # (M,)
    implausible: Counter[str] = Counter()
    parts: list[StayMeasurements] = []
    for item in vocab.source("tjh"):
        column = str(item.keys["column"])
        found = vocab.from_source(item, table[column].to_numpy())
        # Cleaned as a whole, so that a short window does not change the verdict on the unit.
        values, _ = vocab.clean(item.concept, found, f"{path.name}, column '{column}'", item.unit)
        implausible[item.concept] += int((in_window & ~np.isnan(found) & np.isnan(values)).sum())
        kept = in_window & ~np.isnan(values)
        feature = names.index(item.concept)
        parts.append(StayMeasurements.of_feature(row_stay[kept], row_hours[kept], feature, values[kept]))
    return StayMeasurements.joined(parts), implausible


def _hours(difference: pd.Series[pd.Timedelta]) -> pd.Series[float]:
    return difference.dt.total_seconds() / 3600


def _read(path: Path) -> pd.DataFrame:
    """Read the rows by patient, with the patient's number filled in; dates as timestamps, the rest as numbers."""
    table = read_sheet(path)
    labs = [str(item.keys["column"]) for item in vocabulary().source("tjh")]
    for column in (*_DATES, *_NUMBERS, *labs):
        if column not in table.columns:
            raise UserError(f"column '{column}' is missing", where=str(path), hint=f"Use the published '{_FILE}'.")
    if table.empty:
        raise UserError("the table has no rows", where=str(path), hint=f"Use the published '{_FILE}'.")
    for column in _DATES:
        table[column] = column_of_dates(table, column, UNKNOWN, path)
    for column in (*_NUMBERS, *labs):
        table[column] = column_of_numbers(table, column, UNKNOWN, path)
    # The number stands on a patient's first row only.
    table["PATIENT_ID"] = table["PATIENT_ID"].ffill()
    needed = ["PATIENT_ID", "age", "gender", "outcome", "Admission time", "Discharge time"]
    for column in needed:
        if table[column].isna().any():
            line = int(table[column].isna().to_numpy().argmax()) + 2
            raise UserError(f"column '{column}' is empty in row {line}", where=str(path), hint="Fill it in.")
    _check_codes(table, path)
    _check_outcomes(table, path)
    return table.sort_values(["PATIENT_ID", "RE_DATE"], kind="stable").reset_index(drop=True)


def _check_codes(table: pd.DataFrame, path: Path) -> None:
    """Check that the patients' numbers are whole, and that each is called male (1) or female (2)."""
    for column, wrong, must in (
        ("PATIENT_ID", table["PATIENT_ID"].mod(1) != 0, "hold a whole number"),
        ("gender", ~table["gender"].isin((1, 2)), "hold 1 (male) or 2 (female)"),
    ):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            found = f"not {table[column][row]:g} as in row {row + 2}"
            raise UserError(f"column '{column}' must {must}, {found}", where=str(path), hint=f"Use '{_FILE}'.")


def _check_outcomes(table: pd.DataFrame, path: Path) -> None:
    """Check that each outcome is 0 or 1, and the same in all rows of a patient. Rows are in the file's order."""
    first = table.groupby("PATIENT_ID")["outcome"].transform("first")
    for wrong, reason in (
        (~table["outcome"].isin((0, 1)), "must hold 0 or 1"),
        (table["outcome"] != first, "contradicts the patient's first row"),
    ):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            found = f"patient {table['PATIENT_ID'][row]:g} has {table['outcome'][row]:g} in row {row + 2}"
            raise UserError(
                f"column 'outcome' {reason}: {found}", where=str(path), hint=f"Use the published '{_FILE}'."
            )
