#!/usr/bin/env bash
# ACES, with which MEDS-DEV defines its tasks, counts a laboratory value that is NaN as above every threshold.
#
# Expected: a predicate with `value_min: 4` is satisfied by values of 4 and more. A lactate without a number satisfies
#   neither `value_min` nor `value_max`, as one whose `numeric_value` is null does.
# What happens, without a warning: a `numeric_value` of NaN satisfies every `value_min` and no `value_max`. A patient
#   whose only lactate has no number gets the label "high lactate", or is kept or left out by such a criterion.
# How such a file comes about: polars reads the text `NaN` in a CSV column of numbers as NaN and not as null, pyarrow
#   and polars keep NaN that stands in a numpy array, and the schema of MEDS takes it for a valid float.
# Versions: es-aces 0.7.3, meds 0.4.1, polars 1.44.2.
# Output seen:
#   numeric_value of the only lactate, by subject: {1: 2.0, 2: 6.0, 3: nan, 4: None}; valid for meds: yes
#   label "lactate of at least 4": {1: 0, 2: 1, 3: 1, 4: 0}
#   label "lactate below 4":       {1: 1, 2: 0, 3: 0, 4: 0}
# Why it matters: what was not measured becomes a positive label, more often where more is missing. The share of
#   positives, and every model that reads "was it measured", look better or worse for it, and nothing shows why.
# How well known: the documentation of ACES does not speak of missing numbers; no issue about it was found. polars
#   documents that NaN is greater than any other number. Before ACES: `pl.col("numeric_value").fill_nan(None)`.
#   eagbench's `meds` loader leaves values of NaN out.
# Source: aces/config.py, PlainPredicateConfig.MEDS_eval_expr (`pl.col("numeric_value") >= self.value_min`).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check es-aces==0.7.3 meds==0.4.1 polars==1.44.2
export POLARS_MAX_THREADS=1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import io
from importlib.metadata import version
from pathlib import Path

import polars as pl
from aces.config import TaskExtractorConfig
from aces.predicates import get_predicates_df
from aces.query import query
from meds import DataSchema
from omegaconf import OmegaConf

print(", ".join(f"{name} {version(name)}" for name in ("es-aces", "meds", "polars")))

LACTATES = {1: "2.0", 2: "6.0", 3: "NaN", 4: ""}
lines = ["subject_id,time,code,numeric_value"]
for subject, lactate in LACTATES.items():
    lines += [
        f"{subject},2150-01-01T00:00:00,ADMISSION,",
        f"{subject},2150-01-01T02:00:00,LAB//LACTATE,{lactate}",
        f"{subject},2150-01-02T06:00:00,DISCHARGE,",
    ]
types = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32}
events = pl.read_csv(io.StringIO("\n".join(lines)), schema=types)
DataSchema.validate(DataSchema.align(events.to_arrow()))  # raises if MEDS does not allow it
events.write_parquet("events.parquet")
only = dict(events.filter(pl.col("code") == "LAB//LACTATE").select("subject_id", "numeric_value").iter_rows())
print(f"numeric_value of the only lactate, by subject: {only}; valid for meds: yes")

TASK = """
predicates:
  admission: {{code: ADMISSION}}
  asked: {{code: LAB//LACTATE, {limit}}}
trigger: admission
windows:
  target:
    {{start: trigger, end: start + 24h, start_inclusive: true, end_inclusive: true, label: asked}}
"""


def labels(limit: str) -> dict[int, int]:
    """Return each subject's label of a task that asks for a lactate within a limit."""
    Path("task.yaml").write_text(TASK.format(limit=limit))
    task = TaskExtractorConfig.load(Path("task.yaml"))
    predicates = get_predicates_df(task, OmegaConf.create({"path": "events.parquet", "standard": "meds"}))
    return dict(sorted(query(task, predicates).select("subject_id", "label").iter_rows()))


high = labels("value_min: 4, value_min_inclusive: true")
low = labels("value_max: 4, value_max_inclusive: false")
print(f'label "lactate of at least 4": {high}')
print(f'label "lactate below 4":       {low}')
assert high == {1: 0, 2: 1, 3: 1, 4: 0}, "a lactate of NaN is not high any more"
assert low == {1: 1, 2: 0, 3: 0, 4: 0}, "a lactate of NaN is low now"
print("CONFIRMED: NaN is above every threshold")
PYTHON
