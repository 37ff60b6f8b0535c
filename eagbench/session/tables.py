"""The tables of a run folder as pandas' DataFrames."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from eagbench.errors import UserError
from eagbench.runs.predictions import has_predictions, predictions_path
from eagbench.runs.reader import RunFolder
from eagbench.stages.parquet_files import read_parquet

# Every other column is text, also where it looks like a number: the seed may be `mean`, a method may be called `1`.
_COUNTS = frozenset({
    "undefined_resamples", "n_cases", "n_positive", "n_unparsed", "n_seeds", "n_conditions", "n_methods",
    "generated_tokens", "prompt_tokens", "completion_tokens", "requests", "answers_from_cache", "truncated_thought",
    "too_long",
})  # fmt: skip
_NUMBERS = _COUNTS | {
    "severity", "value", "ci_low", "ci_high", "difference", "relative_percent", "standard_error",
    "smallest_detectable", "p_value", "p_corrected", "delong_standard_error", "delong_p_value", "seconds",
    "peak_memory_mb",
}  # fmt: skip
_KEYS = ("method", "condition", "severity", "seed")
_NUMBER = (*_KEYS, "metric", "value", "ci_low", "ci_high", "n_cases", "n_positive", "n_unparsed", "status")
_ANSWER = (*_KEYS, "case_id", "patient_id", "label", "probability", "parsed")
_FAILURE = (*_KEYS, "domain_train", "domain_eval", "metric", "stage", "reason")


def results(run: RunFolder) -> pd.DataFrame:
    """Read `results.csv`, with what readers look for first."""
    return _first(table(run, "results.csv"), _NUMBER)


def cases(run: RunFolder) -> pd.DataFrame:
    """Read what every method, and every reference, said of each case.

    Raises:
        UserError: The folder holds no answers.
    """
    paths = [predictions_path(run.path, name) for name in names_with_answers(run)]
    if not paths:
        raise UserError(
            "this run folder holds no answers about single cases",
            where=str(run.path),
            hint="a bundle made by `eagbench export` has none, and neither has a run in which every method failed",
        )
    read = pa.concat_tables([read_parquet(path) for path in paths], promote_options="default")
    return _first(read.to_pandas(maps_as_pydicts="strict"), _ANSWER)


def names_with_answers(run: RunFolder) -> list[str]:
    """List the methods and references that left answers."""
    return [name for name in (*run.methods, *run.references) if has_predictions(run.path, name)]


def table(run: RunFolder, name: str) -> pd.DataFrame:
    """Read one of the folder's CSV files; one that it lacks, as folders of earlier versions do, is empty.

    Raises:
        UserError: The file is no such table.
    """
    path = run.path / name
    if not path.is_file():
        return pd.DataFrame()
    with path.open(newline="", encoding="utf-8") as stream:
        columns = next(csv.reader(stream), [])
    numbers = {column: "float64" for column in columns if column in _NUMBERS}
    texts = {column: "object" for column in columns if column not in _NUMBERS}
    try:
        # Empty cells are missing numbers, and empty texts; a method may be called `NA`.
        read = pd.read_csv(
            path,
            dtype={**numbers, **texts},
            keep_default_na=False,
            na_values={column: [""] for column in numbers},
            float_precision="round_trip",  # the default is off by a last digit
        )
    except ValueError as error:
        raise UserError(f"this is not a table of a run: {error}", where=str(path)) from error
    # A mean over seeds may count half an answer; all others are whole, or missing.
    whole = [column for column in _COUNTS.intersection(columns) if (read[column].dropna() % 1 == 0).all()]
    return read.astype(dict.fromkeys(whole, "Int64"))


def failed(run: RunFolder) -> pd.DataFrame:
    """List the failed cells of the manifest."""
    return _first(pd.DataFrame(list(run.manifest.get("failed", ())), columns=list(_FAILURE)), _FAILURE)


def _first(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return frame[[*columns, *(column for column in frame.columns if column not in columns)]]
