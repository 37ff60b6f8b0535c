#!/usr/bin/env bash
# MEDS-Tab's tables hold no laboratory value at all, and the last event of each time is counted nowhere.
#
# Expected: what docs/terminology.md defines: code/count is the number of occurrences in the window, value/count,
#   value/sum, value/min and so on summarise the measurements in it. All are on by default.
# What happens, with the two commands of the usage guide and without a warning:
#   - value/*: the rows are kept whose code is among the names of the features. The names end in "/value", the codes do
#     not, so no row is kept: every value feature of every patient is 0. (A sparse table hides it: its shape is right.)
#   - code/count: the events of one time are summed first, from the first row to the last, the last not included. An
#     event alone at its time (an admission, a discharge, a heart rate) is never counted, and of a panel of laboratory
#     values the last in the file is missing. MEDS does not order the rows of one time: another order, other counts.
# Versions: meds-tab 0.2.0 (the newest), meds-transforms 0.7.0, polars 1.35.2, numpy 2.4.6, scipy 1.17.1.
# Output seen:
#                     in the data        code/count, rows of a time        value/count    value/sum
#                   events  numbers    as written     last one first
#   ADMISSION          100        0             0                  0                0            0
#   DISCHARGE          100        0             0                  0                0            0
#   LAB//creatinine    200      200           200                  0                0            0
#   LAB//potassium     200      200           200                200                0            0
#   LAB//sodium        200      200             0                200                0            0
#   VITAL//pulse       500      500             0                  0                0            0
# Why it matters: MEDS-Tab with XGBoost is offered as the strong simple baseline for MEDS data. From these tables it
#   sees no value and not every code; a model that beats it may owe that to nothing but access to the numbers.
# How well known: not documented, and no issue about it was found; the repository's tests of the tables check shapes and
#   files. The filter is in every release (0.0.5 on). The lost event came with 0.1: pull request 114 moved the "+ 1"
#   from the slice into one of its two callers (its review calls a "+1" the only legitimate concern).
# Source: meds-tab, generate_ts_features.py (get_long_value_df) and generate_summarized_reps.py (compute_agg,
#   aggregate_matrix); repository mmcdermott/MEDS_Tabular_AutoML, docs/terminology.md, section "Aggregation Functions".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3.11 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  meds-transforms==0.7.0 meds==0.4.1 polars==1.35.2 pyarrow==26.0.1 hydra-core==1.3.8 omegaconf==2.3.1 \
  numpy==2.4.6 scipy==1.17.1 pandas==3.1.1
# What meds-tab needs only to train models (xgboost, scikit-learn) is left out: the tables are made without it.
"$folder/venv/bin/pip" install -qq --disable-pip-version-check --no-deps meds-tab==0.2.0
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 POLARS_MAX_THREADS=1
cd "$folder"
cat >write.py <<'PYTHON'
from datetime import datetime, timedelta

import numpy as np
import polars as pl

PANEL = {"LAB//creatinine": 1.1, "LAB//potassium": 4.2, "LAB//sodium": 139.0}
rng = np.random.default_rng(0)
schema = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32}


def stay(start):
    """An admission, two panels of three laboratory values, five heart rates and a discharge, in order of time."""
    yield start, "ADMISSION", None
    for hour in range(1, 8):
        now = start + timedelta(hours=hour)
        if hour in (2, 5):
            yield from ((now, code, usual * rng.uniform(0.9, 1.1)) for code, usual in PANEL.items())
        else:
            yield now, "VITAL//pulse", rng.uniform(60, 120)
    yield start + timedelta(hours=24), "DISCHARGE", None


rows = [
    (patient, *event) for patient in range(100) for event in stay(datetime(2024, 1, 1) + timedelta(days=patient))
]
table = pl.DataFrame(rows, schema=schema, orient="row")
table.write_parquet("written/train/0.parquet", mkdir=True)
# The same record, the rows of each time from the last to the first.
turned = table.with_row_index("row").sort("subject_id", "time", "row", descending=[False, False, True]).drop("row")
turned.write_parquet("turned/train/0.parquet", mkdir=True)
PYTHON
cat >show.py <<'PYTHON'
from importlib.metadata import version

import polars as pl
from MEDS_tabular_automl.utils import load_matrix

packages = ("meds-tab", "meds-transforms", "polars", "numpy", "scipy")
print(", ".join(f"{name} {version(name)}" for name in packages))
data = pl.read_parquet("written/train/0.parquet")
codes = sorted(data["code"].unique())
times = data.select("subject_id", "time").unique(maintain_order=True)
# The last row of a patient looks back on the whole record.
last = times.with_row_index("row").group_by("subject_id").agg(pl.col("row").max())["row"].to_list()


def read(order, aggregation):
    return load_matrix(f"out_{order}/tabularize/train/0/full/{aggregation}.npz").toarray()


def whole(order, aggregation):
    """Sum over the patients of what the table says at the end of each record, per feature."""
    return read(order, aggregation)[last].sum(axis=0)


def counted(order):
    return dict(zip(codes, map(int, whole(order, "code/count")), strict=True))


def without_last(order):
    """By hand: the events of each code that are not the last row of their time."""
    table = pl.read_parquet(f"{order}/train/0.parquet")
    kept = table.filter(pl.int_range(pl.len()).over("subject_id", "time") < pl.len().over("subject_id", "time") - 1)
    return {code: kept.filter(pl.col("code") == code).height for code in codes}


written, turned = counted("written"), counted("turned")
events = {code: data.filter(pl.col("code") == code).height for code in codes}
numbers = {code: data.filter(pl.col("code") == code)["numeric_value"].count() for code in codes}
with_numbers = [code for code in codes if numbers[code]]
found = {
    name: dict(zip(with_numbers, map(float, whole("written", f"value/{name}")), strict=True))
    for name in ("count", "sum")
}
print(f"{'':18}  in the data        code/count, rows of a time        value/count    value/sum")
print(f"{'':18} events  numbers    as written     last one first")
for code in codes:
    print(
        f"{code:18} {events[code]:6} {numbers[code]:8} {written[code]:13} {turned[code]:18}"
        f" {found['count'].get(code, 0):16.0f} {found['sum'].get(code, 0):12.0f}"
    )

assert data["numeric_value"].count() == 1100
for order in ("written", "turned"):
    for name in ("count", "sum", "sum_sqd", "min", "max"):
        table = read(order, f"value/{name}")
        assert table.shape == (len(times), len(with_numbers))
        assert not table.any(), f"value/{name} holds values now"
assert written == without_last("written") and turned == without_last("turned"), "other events are counted now"
assert written["ADMISSION"] == written["VITAL//pulse"] == 0, "an event alone at its time is counted now"
assert (written["LAB//sodium"], turned["LAB//sodium"]) == (0, 200), "the order of the rows no longer matters"
print("CONFIRMED: no value reaches the tables, and the last event of each time is not counted")
PYTHON
run() { "$folder/venv/bin/$@" >log 2>&1 || { tail -n 30 log >&2; exit 1; }; }
run python write.py
for order in written turned; do
  run meds-tab-describe input_dir="$order" output_dir="out_$order"
  run meds-tab-tabularize-time-series input_dir="$order" output_dir="out_$order" "tabularization.window_sizes=[full]"
done
"$folder/venv/bin/python" show.py
