"""The open MIMIC-III and eICU demos as YAIB harmonised them: the first day of an ICU stay, hour by hour, in Parquet.

Three files: `sta` (age, sex, height, weight), `dyn` (one row per stay and hour, 48 variables) and `outc` (the label).
Van de Water et al., Yet Another ICU Benchmark, ICLR 2024; the variables and their units are those of ricu's dictionary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from eagbench.api import (
    Access,
    Cases,
    Cohort,
    DatasetTraits,
    FloatArray,
    Provenance,
    StageRun,
    StrictParams,
    Task,
    UserError,
    files_under,
    vocabulary,
)
from eagbench_plugins.datasets.measurements import StayMeasurements, cases_of_stays, series_by_stay

if TYPE_CHECKING:
    import polars as pl

_STATIC = ("age", "sex", "height", "admission_weight")
_SEX = {"Male": 1.0, "Female": 0.0}
_HOSPITALS = {
    "mimic_demo": ("Beth Israel Deaconess Medical Center",),
    "eicu_demo": ("hospitals of the eICU programme",),
}
_MOST_ROWS = 5_000_000  # the demos have 33,000
_WHERE_FROM = (
    "Set data.root to one of the folders mimic_demo and eicu_demo of GitHub rvandewater/YAIB (demo_data/mortality24), "
    "which hold sta.parquet, dyn.parquet and outc.parquet."
)


class IcuDemoParams(StrictParams):
    """Parameters of `icu_demo`.

    Attributes:
        root: The folder with `sta.parquet`, `dyn.parquet` and `outc.parquet`.
        task: Death later in the ICU stay is the files' only label.
        window_hours: Length of the observation window, from ICU admission; the files end at 24 hours.
    """

    root: Path
    task: Literal["icu_mortality"] = "icu_mortality"
    window_hours: Annotated[float, Field(gt=0, le=24)] = 24.0

    @field_validator("root")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()


class IcuDemo:
    """The open MIMIC-III and eICU demos in YAIB's harmonised form: 99 and 1,367 ICU stays, first day, hourly."""

    name: ClassVar[str] = "icu_demo"
    Params: ClassVar[type[IcuDemoParams]] = IcuDemoParams

    def __init__(self, params: IcuDemoParams) -> None:
        self.params = params

    def access(self) -> Access:
        """Return `open`: the files are published under ODbL 1.0."""
        return "open"

    @property
    def traits(self) -> DatasetTraits:
        """Origin of the stays, by the published name of the folder; both origins if it was renamed."""
        every = tuple(name for names in _HOSPITALS.values() for name in names)
        return DatasetTraits(hospitals=_HOSPITALS.get(self.params.root.name, every))

    def files(self) -> Sequence[Path]:
        """List the three files.

        Raises:
            UserError: The root or one of its files is missing.
        """
        return files_under(self.params.root, ["sta.parquet", "dyn.parquet", "outc.parquet"], _WHERE_FROM)

    def load(self, run: StageRun) -> Cohort:
        """Read the cohort: one case per stay with a measurement in the window.

        Raises:
            UserError: A file is not readable, lacks a column, contradicts another one, or is in other units.
        """
        del run
        static_path, series_path, label_path = self.files()
        items = vocabulary().source("icu_demo")
        names = tuple(item.concept for item in items)
        stays = _read(static_path, ("stay_id", "age", "sex", "height", "weight")).sort("stay_id")
        rows = _read(series_path, ("stay_id", "time", *(str(item.keys["column"]) for item in items)))
        ids = stays["stay_id"].to_numpy()  # (N,) increasing
        labels = _labels(_read(label_path, ("stay_id", "label")), ids, label_path)
        measured, implausible = _measurements(rows, ids, self.params.window_hours, series_path)
        series = series_by_stay(measured, len(ids), len(names))
        static, removed = _static(stays, static_path)
        implausible.update(removed)
        chosen = np.flatnonzero([len(times) > 0 for times, _ in series])
        facts = {name: static[name] for name in _STATIC}
        cases = cases_of_stays(chosen, [str(stay_id) for stay_id in ids], names, series, facts)
        return Cohort(
            cases=Cases(vocabulary().features(names), _STATIC, _task(self.params), cases),
            labels=labels[chosen],
            provenance=_provenance(len(ids), len(chosen), implausible),
        )


def _task(params: IcuDemoParams) -> Task:
    return Task(
        name=params.task,
        outcome="die before leaving the intensive care unit",
        role="an intensive care physician",
        window_hours=params.window_hours,
    )


def _provenance(stays: int, cases: int, implausible: Mapping[str, int]) -> Provenance:
    return Provenance(
        source=IcuDemo.name,
        access="open",
        citation=(
            "Van de Water R, et al. Yet Another ICU Benchmark. ICLR 2024 (GitHub rvandewater/YAIB, MIT). Data: "
            "MIMIC-III Clinical Database Demo and eICU Collaborative Research Database Demo, PhysioNet, "
            "ODbL 1.0."
        ),
        patient_is_stay=True,
        n_patients_read=stays,
        exclusions=(("no measurement in the window", stays - cases),),
        implausible={name: count for name, count in implausible.items() if count},
        notes=(
            "The files hold no patient id: each ICU stay stands for a patient, although a patient may have several.",
            "Hourly values, aggregated by YAIB; urine is the sum of the hour. The label is death later in the "
            "ICU stay.",
            "Age is cut at 90 years by the sources.",
        ),
    )


def _measurements(
    rows: pl.DataFrame, ids: Any, window_hours: float, path: Path
) -> tuple[StayMeasurements, Counter[str]]:
    """Convert the measurements in the window to canonical units and count the implausible ones by concept.

    Args:
        rows: The hourly rows of all stays.
        ids: The stays, increasing. Shape (N,).
        window_hours: Length of the observation window.
        path: The rows' file, for error messages.

    Raises:
        UserError: Rows have no stay or no time, or a column isn't numeric or is in another unit.
    """
    vocab = vocabulary()
    row_stay = _positions(rows, ids, path)  # (M,)
    row_hours = _hours(rows, path)  # (M,)
    # A row holds the hour that begins at its time: that of hour 24 lies after the prediction time.
    in_window = (row_hours >= 0) & (row_hours < window_hours)  # (M,)
    implausible: Counter[str] = Counter()
    parts: list[StayMeasurements] = []
    for feature, item in enumerate(vocab.source("icu_demo")):
        column = str(item.keys["column"])
        found = vocab.from_source(item, _numbers(rows, column, path))
        # Cleaned as a whole, so that a short window does not change the verdict on the unit.
        values, _ = vocab.clean(item.concept, found, f"{path}, column '{column}'", item.unit)
        implausible[item.concept] += int((in_window & ~np.isnan(found) & np.isnan(values)).sum())
        kept = in_window & ~np.isnan(values)
        parts.append(StayMeasurements.of_feature(row_stay[kept], row_hours[kept], feature, values[kept]))
    return StayMeasurements.joined(parts), implausible


def _read(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    try:
        # From the file's footer alone: a column of one value repeated takes no room, whatever its length.
        rows = pl.scan_parquet(path).select(pl.len()).collect().item()
        if rows > _MOST_ROWS:
            raise UserError(f"holds {rows:,} rows, more than {_MOST_ROWS:,}", where=str(path), hint=_WHERE_FROM)
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"can't be read as Parquet ({reason})", where=str(path), hint=_WHERE_FROM) from error
    for column in columns:
        if column not in table.columns:
            raise UserError(f"column '{column}' is missing", where=str(path), hint=_WHERE_FROM)
    if table["stay_id"].null_count() or not table["stay_id"].dtype.is_integer():
        raise UserError("column 'stay_id' must hold a whole number in every row", where=str(path), hint=_WHERE_FROM)
    return table.select(columns)


def _numbers(table: pl.DataFrame, column: str, path: Path) -> FloatArray:
    """Read a column as float64, NaN where it is empty. Shape (M,)."""
    import polars as pl

    if not (table[column].dtype.is_numeric() or table[column].dtype == pl.Null):
        raise UserError(f"column '{column}' must hold numbers, not {table[column].dtype}", where=str(path))
    numbers: FloatArray = table[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return numbers


def _hours(rows: pl.DataFrame, path: Path) -> FloatArray:
    import polars as pl

    if rows["time"].null_count() or not isinstance(rows["time"].dtype, pl.Duration):
        raise UserError("column 'time' must hold the time since ICU admission in every row", where=str(path))
    hours: FloatArray = rows["time"].dt.total_milliseconds().to_numpy() / 3_600_000
    return hours


def _positions(rows: pl.DataFrame, ids: Any, path: Path) -> Any:
    """Find the position of each row's stay in `ids`. Shape (M,)."""
    if len(np.unique(ids)) != len(ids):
        raise UserError("a stay appears twice in sta.parquet", where=str(path.parent), hint=_WHERE_FROM)
    found = rows["stay_id"].to_numpy()
    position = np.minimum(np.searchsorted(ids, found), len(ids) - 1)
    unknown = ids[position] != found
    if unknown.any():
        raise UserError(
            f"{len(np.unique(found[unknown]))} stays are not in sta.parquet, the first is {found[unknown][0]}",
            where=str(path),
            hint=_WHERE_FROM,
        )
    return position


def _labels(table: pl.DataFrame, ids: Any, path: Path) -> Any:
    """Read the label of each stay of `ids`, 0 or 1. Shape (N,)."""
    import polars as pl

    twice = table["stay_id"].is_duplicated()
    if twice.any():
        stay = table.filter(twice)["stay_id"][0]
        found = ", ".join(str(label) for label in table.filter(table["stay_id"] == stay)["label"])
        raise UserError(f"stay {stay} has several labels ({found})", where=str(path), hint=_WHERE_FROM)
    # As text, a label may be a number or `NA`; only the numbers 0 and 1 count.
    label = dict(table.select("stay_id", pl.col("label").cast(pl.Float64, strict=False)).iter_rows())
    lacking = [stay for stay in ids.tolist() if label.get(stay) not in (0, 1)]
    if lacking:
        first = lacking[0]
        found = table.filter(table["stay_id"] == first)["label"].cast(pl.String).to_list()
        said = f"has '{found[0]}'" if found and found[0] is not None else "has none"
        raise UserError(
            f"{len(lacking)} stays have no label of 0 or 1, the first is {first}, which {said}",
            where=str(path),
            hint=_WHERE_FROM,
        )
    return np.array([label[stay] for stay in ids.tolist()], dtype=np.int64)


def _static(stays: pl.DataFrame, path: Path) -> tuple[dict[str, FloatArray], dict[str, int]]:
    """Read the static facts by name, each of shape (N,), and count the implausible ones that were removed."""
    import polars as pl

    vocab = vocabulary()
    height, heights = vocab.clean("height", _numbers(stays, "height", path), f"{path}, column 'height'")
    weight, weights = vocab.clean("weight", _numbers(stays, "weight", path), f"{path}, column 'weight'")
    sex = stays["sex"].cast(pl.String).replace_strict(_SEX, default=None, return_dtype=pl.Float64)
    static = {
        "age": _numbers(stays, "age", path),
        "sex": sex.fill_null(np.nan).to_numpy(),
        "height": height,
        "admission_weight": weight,
    }
    return static, {"height": heights, "admission_weight": weights}
