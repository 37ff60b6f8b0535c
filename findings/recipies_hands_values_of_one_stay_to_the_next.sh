#!/usr/bin/env bash
# recipies, the preprocessing of YAIB, gives a stay the last values of the stay before it, or another stay's history.
#
# Expected: with a column in the role "group", each step works within that group. The README promises that leakage is
#   prevented by construction, and StepImputeFill and StepHistorical's maximum do stay within the group.
# What happens, without a warning:
#   - StepResampling on polars adds the missing hours by stay, and then fills every gap down the whole table: a stay
#     without a lactate yet begins with the last one of the stay above. With MEAN or MAX a gap gets the mean or maximum
#     of all stays and of all hours, later ones too. To a coarser step it does not aggregate at all: of three rows in an
#     hour it keeps the first and drops the others, whatever accumulator was named.
#   - StepHistorical on pandas with MEAN, MEDIAN, COUNT or VAR puts its rows, ordered by stay id and with a new index,
#     beside those of the table. Where ids do not ascend, a stay gets another's history; where the index does not count
#     from 0 (a fold cut out of a table), the history is NaN or moved. MAX and MIN are right.
# Versions: recipies 1.3.1, polars 1.35.2, pandas 2.3.3, numpy 2.3.5, scikit-learn 1.8.0, scipy 1.16.3.
# Output seen:
#   lactate of stay 2, whose only one is 1.0 in its last hour:
#     StepResampling LAST [9.0, 9.0, 9.0, 9.0, 1.0]; MEAN [4.0, 4.0, 4.0, 4.0, 1.0]; MAX [9.0, 9.0, 9.0, 9.0, 1.0]
#   heart rates 80, 90, 100 within one hour, to hours by MEAN: [80.0]
#   heart rates of stay 30 [140.0, 142.0, 144.0], of stay 10 [60.0, 62.0, 64.0]; so far in stay 10:
#     polars: MAX [60.0, 62.0, 64.0], MEAN [60.0, 61.0, 62.0]
#     pandas: MAX [60.0, 62.0, 64.0], MEAN [140.0, 141.0, 142.0]
#     pandas, stay 10 cut out of the table: MAX [60.0, 62.0, 64.0], MEAN [nan, nan, nan]
# Why it matters: a mean that lies above the maximum is easy to see in six rows and not in a million. What a patient
#   begins with depends on who stands above him in the table, and a later hour of anyone can reach an earlier one.
# How well known: not in the docstrings or the README; no issue about it was found. YAIB 1.0.8 is not touched: it does
#   not resample, and sorts by stay when it splits. Before StepHistorical sort by stay and time, and reset the index.
# Source: recipies, recipies/step.py: StepResampling.transform (`upsample(..., group_by=...)`, then `fill_null` without
#   `over`), StepHistorical.transform (`expanding().mean().reset_index(drop=True)`, then `assign`).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  polars==1.35.2 pandas==2.3.3 numpy==2.3.5 scikit-learn==1.8.0 scipy==1.16.3 pyarrow==26.0.1
"$folder/venv/bin/pip" install -qq --disable-pip-version-check --no-deps recipies==1.3.1
export OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime, timedelta
from importlib.metadata import version

import numpy as np
import polars as pl
from recipies import Recipe
from recipies.selector import all_numeric_predictors
from recipies.step import Accumulator, StepHistorical, StepResampling

print(", ".join(f"{name} {version(name)}" for name in ("recipies", "polars", "pandas", "numpy", "scikit-learn")))


def prepared(table, value, step):
    return Recipe(table, predictors=[value], groups=["stay_id"], sequences=["time"]).add_step(step).prep()


def resampled(hours, stays, value, values, how):
    """Bring the values to an hourly step."""
    times = [datetime(2150, 3, 1) + timedelta(hours=hour) for hour in hours]
    table = pl.DataFrame({"stay_id": stays, "time": times, value: values})
    return prepared(table, value, StepResampling("1h", {all_numeric_predictors(): Accumulator[how]}))


def so_far(table, how):
    """Return the history of stay 10 and its values."""
    done = prepared(table, "hr", StepHistorical(fun=Accumulator[how], suffix="_so_far"))
    return done["hr_so_far"].to_numpy()[(done["stay_id"] == 10).to_numpy()].tolist()


print("lactate of stay 2, whose only one is 1.0 in its last hour:")
lactates = {}
for how in ("LAST", "MEAN", "MAX"):
    done = resampled([0, 1, 3, 0, 4], [1, 1, 1, 2, 2], "lactate", [None, 2.0, 9.0, None, 1.0], how)
    lactates[how] = done.filter(pl.col("stay_id") == 2)["lactate"].to_list()
print("  StepResampling " + "; ".join(f"{how} {found}" for how, found in lactates.items()))
hour = resampled([0, 1 / 3, 2 / 3], [1, 1, 1], "hr", [80.0, 90.0, 100.0], "MEAN")["hr"].to_list()
print(f"heart rates 80, 90, 100 within one hour, to hours by MEAN: {hour}")

rates = {30: [140.0, 142.0, 144.0], 10: [60.0, 62.0, 64.0]}
table = pl.DataFrame({"stay_id": np.repeat([30, 10], 3), "time": [0, 1, 2] * 2, "hr": rates[30] + rates[10]})
print(f"heart rates of stay 30 {rates[30]}, of stay 10 {rates[10]}; so far in stay 10:")
frame = table.to_pandas()
kinds = {"polars": table, "pandas": frame, "pandas, stay 10 cut out of the table": frame[frame["stay_id"] == 10]}
history = {kind: [so_far(rows, how) for how in ("MAX", "MEAN")] for kind, rows in kinds.items()}
for kind, (largest, mean) in history.items():
    print(f"  {kind}: MAX {largest}, MEAN {mean}")

assert lactates["LAST"] == [9, 9, 9, 9, 1], "the lactate of stay 1 no longer enters stay 2"
assert lactates["MEAN"] == [4, 4, 4, 4, 1] and lactates["MAX"] == [9, 9, 9, 9, 1] and hour == [80]
assert all(largest == rates[10] for largest, _ in history.values())
right, wrong, cut = (mean for _, mean in history.values())
assert right == [60, 61, 62] and wrong == [140, 141, 142], "the history on pandas is that of the stay now"
assert np.isnan(cut).all(), "the history of a part of a table is right now"
print("CONFIRMED: a stay gets the values of the one before it, and the history of another")
PYTHON
