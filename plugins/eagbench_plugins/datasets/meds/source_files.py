"""Where the files of a MEDS data set are, and what they must contain.

Schema: github.com/Medical-Event-Data-Standard/meds (data, code metadata and label schema of version 0.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from eagbench.api import UserError
from eagbench_plugins.datasets.passed_over import is_passed_over

_HINT = "MEDS asks for data/**/*.parquet with subject_id, time and code; numeric_value and text_value may be left out."
_DATA = {"subject_id": "a whole number", "time": "a time without a zone", "code": "text"}
# MEDS 0.4.1 allows a shard without them.
_OPTIONAL_DATA = {"numeric_value": "a number"}
_LABEL_HINT = "MEDS' labels are Parquet with subject_id, prediction_time and boolean_value."
_LABELS = {"subject_id": "a whole number", "prediction_time": "a time without a zone", "boolean_value": "true or false"}


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The files that are read.

    Attributes:
        shards: Of the data, in order of their paths.
        code_metadata: metadata/codes.parquet, None if there is none.
        labels: Label files, in order of their paths.
        codes: The file of codes, None if there is none.
        splits: metadata/subject_splits.parquet, None if there is none.
        patients: The file that names each subject's patient, None if there is none.
    """

    shards: tuple[Path, ...]
    code_metadata: Path | None
    labels: tuple[Path, ...]
    codes: Path | None
    splits: Path | None = None
    patients: Path | None = None

    def all(self) -> tuple[Path, ...]:
        """Return every file."""
        others = (self.code_metadata, self.codes, self.splits, self.patients)
        return (*self.shards, *self.labels, *filter(None, others))


def source_files(root: Path, labels: Path, codes: Path | None, patients: Path | None = None) -> SourceFiles:
    """Find the files.

    Raises:
        UserError: A file or folder is missing.
    """
    if not root.is_dir():
        raise UserError(f"data root '{root}' is not a folder", where="data.root", hint=_HINT)
    shards = _parquet_files(root / "data")
    if not shards:
        raise UserError(f"there is no Parquet file in '{root / 'data'}'", where="data.root", hint=_HINT)
    label_files = (labels,) if labels.is_file() else _parquet_files(labels)
    if not label_files:
        raise UserError(
            f"there is no label file at '{labels}'",
            where="data.labels",
            hint=_LABEL_HINT,
        )
    if codes is not None and not codes.is_file():
        raise UserError(f"there is no file '{codes}'", where="data.codes", hint="It maps codes to concepts, in YAML.")
    if patients is not None and not patients.is_file():
        raise UserError(f"there is no file '{patients}'", where="data.patients", hint="It names subjects' patients.")
    metadata, splits = (root / "metadata" / name for name in ("codes.parquet", "subject_splits.parquet"))
    return SourceFiles(
        shards,
        metadata if metadata.is_file() else None,
        label_files,
        codes,
        splits if splits.is_file() else None,
        patients,
    )


def _parquet_files(folder: Path) -> tuple[Path, ...]:
    found = sorted(folder.rglob("*.parquet"))
    return tuple(path for path in found if not is_passed_over(path.relative_to(folder)))


def data_columns(path: Path) -> frozenset[str]:
    """Name the columns of a shard that are read.

    Raises:
        UserError: The file can't be read, lacks a column, or has a column of another type.
    """
    schema = _schema(path)
    _check(path, schema, {**_DATA, **{name: kind for name, kind in _OPTIONAL_DATA.items() if name in schema}})
    return frozenset({*_DATA, *_OPTIONAL_DATA, "text_value"} & schema.keys())


def read_labels(paths: tuple[Path, ...]) -> pl.DataFrame:
    """Read all labels: subject_id, prediction_time, boolean_value, in order of subject and time.

    Raises:
        UserError: A file can't be read, lacks a column, has gaps, or gives one subject and time two labels.
    """
    parts = []
    for path in paths:
        _check(path, _schema(path), _LABELS, _LABEL_HINT)
        part = _read(path, list(_LABELS))
        for column in _LABELS:
            if part[column].null_count():
                raise UserError(f"column '{column}' is empty in {part[column].null_count()} rows", where=str(path))
        parts.append(part.cast({"subject_id": pl.Int64, "prediction_time": pl.Datetime("us")}))
    labels = pl.concat(parts).sort("subject_id", "prediction_time")
    twice = labels.filter(labels.select("subject_id", "prediction_time").is_duplicated())
    if len(twice):
        raise UserError(
            f"subject {twice['subject_id'][0]} has two labels for {twice['prediction_time'][0]}",
            where=str(paths[0].parent),
        )
    return labels


def read_splits(path: Path) -> dict[int, str]:
    """Read the part of each subject in metadata/subject_splits.parquet.

    Raises:
        UserError: The file can't be read, lacks a column, or names a subject twice.
    """
    _check(path, _schema(path), {"subject_id": "a whole number", "split": "text"})
    table = _read(path, ["subject_id", "split"]).cast({"split": pl.String})
    twice = table.filter(table["subject_id"].is_duplicated())["subject_id"]
    if len(twice):
        raise UserError(f"subject {twice[0]} is named {(twice == twice[0]).sum()} times", where=str(path))
    return {subject: split or "" for subject, split in table.iter_rows()}


def read_parent_codes(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the parent codes of every code in metadata/codes.parquet.

    Raises:
        UserError: The file can't be read or has no column `code`.
    """
    schema = _schema(path)
    _check(path, schema, {"code": "text"})
    if "parent_codes" not in schema:
        return {}
    table = _read(path, ["code", "parent_codes"])
    return {code: tuple(parents or ()) for code, parents in table.iter_rows()}


def _schema(path: Path) -> Mapping[str, pl.DataType]:
    try:
        schema: Mapping[str, pl.DataType] = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
    return schema


def _read(path: Path, columns: list[str]) -> pl.DataFrame:
    """Read columns of a file whose schema is known; its pages may still be damaged."""
    try:
        return pl.read_parquet(path, columns=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> UserError:
    """Say that a file can't be read."""
    reason = str(error).splitlines()[0]
    hint = "Write the file again from its source."
    return UserError(f"can't be read as Parquet ({reason})", where=str(path), hint=hint)


def _check(path: Path, schema: Mapping[str, pl.DataType], wanted: Mapping[str, str], hint: str = _HINT) -> None:
    for column, kind in wanted.items():
        if column not in schema:
            raise UserError(f"column '{column}' is missing", where=str(path), hint=hint)
        found = schema[column]
        fits = {
            "a whole number": found.is_integer(),
            "a time without a zone": isinstance(found, pl.Datetime) and found.time_zone is None,
            "text": found in (pl.String, pl.Categorical),
            "a number": found.is_numeric(),
            "true or false": found == pl.Boolean,
        }[kind]
        if not fits:
            raise UserError(f"column '{column}' must hold {kind}, not {found}", where=str(path), hint=hint)
