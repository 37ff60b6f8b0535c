"""PhysioNet/Computing in Cardiology Challenge 2012, sets a, b and c: the first 48 hours of 4,000 ICU stays each.

One text file per stay (`Time,Parameter,Value`, -1 for a missing value). Six descriptors at 00:00 come before the
measurements. Silva et al., Predicting in-hospital mortality of ICU patients, Computing in Cardiology 39, 2012.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from eagbench.api import (
    Access,
    Cases,
    Cohort,
    DatasetTraits,
    DataSource,
    Provenance,
    StageRun,
    StrictParams,
    Task,
    UserError,
    files_under,
    vocabulary,
)
from eagbench_plugins.datasets.concept_choice import check_named_once
from eagbench_plugins.datasets.csv_text import outcomes_by_id, read_csv_text
from eagbench_plugins.datasets.measurements import StayMeasurements, cases_of_stays, series_by_stay
from eagbench_plugins.datasets.physionet2012_published import CITATION, SET_A
from eagbench_plugins.datasets.text_archive import Budget, texts_of

if TYPE_CHECKING:
    import polars as pl

_ARCHIVE = "set-{}.tar.gz"
_OUTCOMES = "Outcomes-{}.txt"
_SETS = ("a", "b", "c")
_HEADER = "Time,Parameter,Value"
_UNITS = {1: "CCU", 2: "CSRU", 3: "MICU", 4: "SICU"}
_DESCRIPTORS = ("RecordID", "Age", "Gender", "Height", "ICUType", "Weight")
_STATIC = ("age", "sex", "height", "admission_weight", "icu_type")
# Scores that came with the outcomes, under names that only `clinical_score` reads: no other method is given them.
_SCORES = {"score_saps_i": "SAPS-I", "score_sofa": "SOFA"}
_MISSING = -1.0
# A set has 4,000 records in 26 MB, the largest of 24 kB.
_BUDGET = Budget(members=20_000, member_bytes=2**20, total_bytes=128 * 2**20)


class PhysioNet2012Params(StrictParams):
    """Parameters of `physionet2012`.

    Attributes:
        root: The folder with `set-a.tar.gz` and `Outcomes-a.txt` (and those of other sets).
        sets: The challenge's sets to read. Of several, `split: {by: set, train: [a], held_out: [b]}` makes training and
            test data, as in the challenge.
        task: In-hospital mortality is the challenge's outcome.
        window_hours: Length of the observation window, from ICU admission; the records end at 48 hours.
    """

    root: Path
    sets: Annotated[tuple[Literal["a", "b", "c"], ...], Field(min_length=1)] = ("a",)
    task: Literal["in_hospital_mortality"] = "in_hospital_mortality"
    window_hours: Annotated[float, Field(gt=0, le=48)] = 48.0

    @field_validator("root")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()

    @field_validator("sets")
    @classmethod
    def _differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_named_once(value, "a set")
        return tuple(sorted(value))


class PhysioNet2012:
    """The PhysioNet/CinC Challenge 2012: the first 48 hours of 4,000 stays per set in four kinds of ICU.

    Needs `set-a.tar.gz` and `Outcomes-a.txt` in `root` (`eagbench data fetch physionet2012` brings them; ODC-BY 1.0). A
    case is a record with a measurement in the window (docs/datasets/physionet2012.md).
    """

    name: ClassVar[str] = "physionet2012"
    Params: ClassVar[type[PhysioNet2012Params]] = PhysioNet2012Params
    traits = DatasetTraits(
        groups={"icu_type": tuple(_UNITS.values())}, hospitals=("Beth Israel Deaconess Medical Center",)
    )
    # The challenge took its records from MIMIC-II.
    sources: ClassVar[tuple[DataSource, ...]] = (SET_A,)

    def __init__(self, params: PhysioNet2012Params) -> None:
        self.params = params

    def access(self) -> Access:
        """Return `open`: the files are published under ODC-BY 1.0."""
        return "open"

    def files(self) -> Sequence[Path]:
        """List the archive of records and the table of outcomes of each set.

        Raises:
            UserError: The root or one of its files is missing.
        """
        names = [name.format(letter) for letter in self.params.sets for name in (_ARCHIVE, _OUTCOMES)]
        listed = " and ".join(f"'{name}'" for name in names)
        hint = f"data.root is the folder with {listed}; `eagbench data fetch physionet2012` brings set A."
        return files_under(self.params.root, names, hint)

    def load(self, run: StageRun) -> Cohort:
        """Read the cohort: one case per record with a measurement in the window.

        Raises:
            UserError: A file is not readable, lacks a column, misses a record's outcome, or is in other units.
        """
        del run
        read = _read_sets(self.params.sets, self.files())
        descriptors = read.descriptors
        ids = descriptors["record"].to_numpy()  # (N,) increasing
        names = tuple(dict.fromkeys(item.concept for item in vocabulary().source("physionet2012")))
        measured, implausible = _measurements(read.rows, ids, names, self.params.window_hours, self.files()[0])
        series = series_by_stay(measured, len(ids), len(names))
        _check_codes(descriptors, self.params.root)
        static, removed = _static(descriptors)
        implausible.update(removed)
        chosen = np.flatnonzero([len(times) > 0 for times, _ in series])
        facts = {**{name: static[name] for name in _STATIC}, **read.scores}
        cases = cases_of_stays(chosen, [str(stay_id) for stay_id in ids], names, series, facts)
        return Cohort(
            cases=Cases(vocabulary().features(names), _STATIC, _task(self.params), cases),
            labels=read.labels[chosen],
            groups={
                "icu_type": tuple(_UNITS[int(static["icu_type"][i])] for i in chosen),
                "set": tuple(descriptors["set"][int(i)] for i in chosen),
            },
            provenance=_provenance(len(ids), len(chosen), implausible, read.passed_over),
        )


@dataclass(frozen=True, slots=True)
class _Sets:
    """What the archives and outcome files of all sets hold, by record (N of them, increasing).

    Attributes:
        descriptors: One row per record, with its `set`.
        rows: One row per measurement.
        labels: Death in hospital. Shape (N,).
        scores: The scores that came with the outcomes, NaN where unknown. Shapes (N,).
        passed_over: Hidden files of the archives, which were not read.
    """

    descriptors: pl.DataFrame
    rows: pl.DataFrame
    labels: Any
    scores: Mapping[str, Any]
    passed_over: tuple[str, ...]


def _read_sets(sets: Sequence[str], files: Sequence[Path]) -> _Sets:
    """Read descriptors, measurements, outcomes and scores of all sets.

    Raises:
        UserError: A file is wrong, or two sets hold the same record.
    """
    import polars as pl

    descriptors, rows, outcomes, passed_over = [], [], [], []
    for i, letter in enumerate(sets):
        archive = files[2 * i]
        records, hidden = _read_records(archive)
        described, measured = _split(records)
        for name in _DESCRIPTORS:
            if name not in described.columns or described[name].null_count():
                raise UserError(f"a record lacks its descriptor '{name}' at 00:00", where=str(archive))
        outcomes.append(_read_outcomes(files[2 * i + 1], described["record"].to_numpy()))
        descriptors.append(described.select("record", *_DESCRIPTORS, pl.lit(letter).alias("set")))
        rows.append(measured)
        passed_over += hidden
    joined = pl.concat(descriptors)
    twice = joined.filter(pl.col("record").is_duplicated())["record"]
    if len(twice):
        raise UserError(f"{twice.n_unique()} records are in two sets, the first is {twice[0]}", where=str(files[-2]))
    order = joined["record"].arg_sort().to_numpy()
    # A score that one set lacks is unknown there.
    scores = {
        name: np.concatenate([known.get(name, np.full(len(died), np.nan)) for died, known in outcomes])[order]
        for name in _SCORES
        if any(name in known for _, known in outcomes)
    }
    labels = np.concatenate([died for died, _ in outcomes])[order]
    return _Sets(joined[order.tolist()], pl.concat(rows), labels, scores, tuple(passed_over))


def _task(params: PhysioNet2012Params) -> Task:
    return Task(
        name=params.task,
        outcome="die before leaving the hospital",
        role="an intensive care physician",
        window_hours=params.window_hours,
    )


def _provenance(records: int, cases: int, implausible: Mapping[str, int], passed_over: Sequence[str]) -> Provenance:
    first = passed_over[0] if passed_over else ""
    others = f"{len(passed_over)} hidden files of the archive were not read, the first is '{first}'."
    return Provenance(
        source=PhysioNet2012.name,
        access="open",
        citation=CITATION,
        patient_is_stay=True,
        n_patients_read=records,
        exclusions=(("no measurement in the window", records - cases),),
        implausible={name: count for name, count in implausible.items() if count},
        notes=(
            "The source holds one stay per record, adults, stays of at least 48 hours; it has no patient id.",
            "Arterial and cuff blood pressure are one feature; at the same time the arterial value is kept.",
            "Of several values of a parameter at the same time the last is kept.",
            *([others] if passed_over else []),
        ),
    )


def _measurements(
    rows: pl.DataFrame, ids: Any, names: tuple[str, ...], window_hours: float, archive: Path
) -> tuple[StayMeasurements, Counter[str]]:
    """Convert the measurements in the window to canonical units and count the implausible ones by concept.

    Args:
        rows: The measurements of all records, as `_split` returns them.
        ids: The records, increasing. Shape (N,).
        names: The features, in the order of the columns.
        window_hours: Length of the observation window.
        archive: The rows' archive, for error messages.

    Raises:
        UserError: No record holds a measurement, or values are in another unit.
    """
    vocab = vocabulary()
    places = Counter[str]()
    implausible = Counter[str]()
    parts: list[StayMeasurements] = []
    by_parameter = rows.partition_by("parameter", as_dict=True)
    for item in vocab.source("physionet2012"):
        place, places[item.concept] = places[item.concept], places[item.concept] + 1
        found = by_parameter.get((item.keys["parameter"],))
        if found is None:
            continue
        values = vocab.from_source(item, found["value"].to_numpy())
        where = f"{archive.name}, parameter {item.keys['parameter']}"
        values, _ = vocab.clean(item.concept, values, where, item.unit)
        hours = found["minutes"].to_numpy() / 60  # by NumPy, whose division is rounded correctly
        in_window = hours <= window_hours
        implausible[item.concept] += int((np.isnan(values) & in_window).sum())
        kept = in_window & ~np.isnan(values)
        stay = np.searchsorted(ids, found["record"].to_numpy()[kept])
        feature = names.index(item.concept)
        parts.append(StayMeasurements.of_feature(stay, hours[kept], feature, values[kept], place))
    if not parts:
        raise UserError("no record holds a measurement", where=str(archive))
    return StayMeasurements.joined(parts), implausible


def _read_records(archive: Path) -> tuple[pl.DataFrame, list[str]]:
    """Read all rows of all records.

    Returns:
        The rows (`record`, `minutes` (ints), `parameter`, `value`, in the records' order), and the names of the
        archive's files that were passed over.
    """
    import polars as pl

    hint = "Fetch the archive again from its origin."
    texts, passed_over = _read_texts(archive, hint)
    if not texts:
        raise UserError("holds no record", where=str(archive), hint=hint)
    try:
        rows = (
            pl.read_csv(
                b"\n".join(texts), has_header=False, schema=dict.fromkeys(("time", "parameter", "value"), pl.String)
            )
            .filter(pl.col("time") != "Time")
            .with_columns(
                pl.col("value").str.strip_chars().cast(pl.Float64),
                pl.col("time").str.split_exact(":", 1).struct.unnest(),
            )
            .with_columns(minutes=pl.col("field_0").cast(pl.Int64) * 60 + pl.col("field_1").cast(pl.Int64))
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"a record can't be read ({reason})", where=str(archive), hint=hint) from error
    # A record's rows follow the one that names it.
    named = pl.when(pl.col("parameter") == "RecordID").then(pl.col("value")).forward_fill().cast(pl.Int64)
    rows = rows.with_columns(record=named).select("record", "minutes", "parameter", "value")
    ids = rows.filter(pl.col("parameter") == "RecordID")["record"]
    if ids.n_unique() != len(texts) or len(ids) != len(texts) or rows["record"].null_count():
        raise UserError("not every record names its own RecordID once, first", where=str(archive), hint=hint)
    return rows, passed_over


def _read_texts(archive: Path, hint: str) -> tuple[list[bytes], list[str]]:
    """Read the records' files, and name the files that were passed over."""
    texts: list[bytes] = []
    passed_over: list[str] = []
    for name, content in texts_of(archive, _BUDGET, hint):
        if content is None:
            passed_over.append(name)
            continue
        texts.append(content.rstrip(b"\r\n"))
        _check_header(texts[-1], name, archive, hint)
    return texts, passed_over


def _check_header(text: bytes, name: str, archive: Path, hint: str) -> None:
    header = text.split(b"\n", 1)[0].strip().decode(errors="replace")
    if header != _HEADER:
        missing = [column for column in _HEADER.split(",") if column not in header.split(",")]
        what = f"column '{missing[0]}' is missing" if missing else "the columns are in another order"
        raise UserError(f"{what} in the header of '{name}', '{header[:60]}'", where=str(archive), hint=hint)


def _split(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into descriptors, one row per record in order of `record`, and measurements without missing values.

    A record's first weight, if at 00:00, belongs to the descriptors; later ones are measurements.
    """
    import polars as pl

    first = pl.col("parameter").cum_count().over("record", "parameter") == 1
    is_descriptor = pl.col("parameter").is_in(_DESCRIPTORS) & first & (pl.col("minutes") == 0)
    rows = rows.with_columns(is_descriptor=is_descriptor)
    descriptors = rows.filter("is_descriptor").pivot("parameter", index="record", values="value").sort("record")
    is_missing = (pl.col("value") == _MISSING) | pl.col("value").is_nan()
    measurements = rows.filter(~pl.col("is_descriptor") & ~is_missing).drop("is_descriptor")
    return descriptors, measurements


def _check_codes(descriptors: pl.DataFrame, root: Path) -> None:
    """Check that each record has one of the codes of ICUs, and of sexes. What is missing counts as -1."""
    units = ", ".join(f"{code} {unit}" for code, unit in _UNITS.items())
    for name, codes, said in (("ICUType", _UNITS, units), ("Gender", (0, 1, _MISSING), "0 female, 1 male, -1 unknown")):
        code = descriptors[name].fill_nan(None).fill_null(_MISSING)
        if (wrong := ~code.is_in([float(known) for known in codes])).any():
            record, found = descriptors["record"].filter(wrong)[0], code.filter(wrong)[0]
            message = f"{name} of record {record} is {found:g}, which is none of {said}"
            raise UserError(message, where=str(root), hint="Use the published archive of the set.")


def _static(descriptors: pl.DataFrame) -> tuple[dict[str, Any], dict[str, int]]:
    """Read the static facts by name, each of shape (N,), and count the implausible ones that were removed."""
    import polars as pl

    vocab = vocabulary()
    known = {
        name: descriptors[name].replace(_MISSING, None).cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in _DESCRIPTORS
    }
    height, heights = vocab.clean("height", known["Height"], "descriptor Height")
    weight, weights = vocab.clean("weight", known["Weight"], "descriptor Weight")
    static = {
        "age": known["Age"],
        "sex": known["Gender"],  # 1 male, 0 female in the source as well
        "height": height,
        "admission_weight": weight,
        "icu_type": known["ICUType"],
    }
    return static, {"height": heights, "admission_weight": weights}


def _read_outcomes(path: Path, ids: Any) -> tuple[Any, dict[str, Any]]:
    """Read each record's outcome, 0 or 1, and the scores by name, NaN where unknown. All of shape (N,)."""
    hint = f"Use the published '{path.name}'."
    table = read_csv_text(path, ("RecordID", "In-hospital_death"), tuple(_SCORES.values()), hint=hint)
    outcomes = outcomes_by_id(table, "RecordID", "In-hospital_death")
    records = [str(record) for record in ids.tolist()]
    labels = [outcomes[record].label if record in outcomes else None for record in records]
    lacking = [record for record, label in zip(records, labels, strict=True) if label is None]
    if lacking:
        first = lacking[0]
        unknown = f" (line {outcomes[first].line} says that it is unknown)" if first in outcomes else ""
        raise UserError(
            f"{len(lacking)} records have no outcome, the first is {first}{unknown}", where=str(path), hint=hint
        )
    place = {record: i for i, record in enumerate(outcomes)}
    order = np.array([place[record] for record in records], dtype=np.int64)  # (N,)
    scores = {}
    for name, column in _SCORES.items():
        if column in table.rows.columns:
            found = table.numbers(column)[order]
            scores[name] = np.where(found == _MISSING, np.nan, found)
    return np.array(labels, dtype=np.int64), scores
