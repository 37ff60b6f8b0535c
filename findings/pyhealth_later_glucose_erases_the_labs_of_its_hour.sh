#!/usr/bin/env bash
# PyHealth's time series keep only the last blood sample of an hour: a glucose erases the potassium drawn before it.
#
# Expected: on an hourly grid each laboratory test keeps its own last value of the hour.
# What happens: TimeseriesProcessor ("timeseries", the input of InHospitalMortalityMIMIC4) writes the whole row of each
#   sample over the row of its hour, with NaN for what was not measured. The forward fill then puts the value of an
#   earlier hour there, or 0 if there is none. Nothing is said, and nothing marks what was measured.
# Versions: pyhealth 2.1.0, torch 2.15.0, polars 1.35.2, pandas 2.3.3, numpy 2.5.5, dask 2026.8.0, litdata 0.2.67.
# Output seen:
#   drawn: 09:05 sodium 138, potassium 6.9; 15:05 potassium 4.1; from patient 2 also 09:50 glucose 180
#   patient 1: sodium 138 138 138 138 138 138 138; potassium 6.9 6.9 6.9 6.9 6.9 6.9 4.1; glucose 0 0 0 0 0 0 0
#   patient 2: sodium 0 0 0 0 0 0 0; potassium 0 0 0 0 0 0 4.1; glucose 180 180 180 180 180 180 180
#   eICU demo, first 48 hours: 408 of 3554 hourly values of eleven such tests are erased (11%)
# Why it matters: a hyperkalaemia is read as a potassium of 0, and later as a normal one. Samples lie close together
#   where a patient is unwell, and wider steps (sampling_rate) lose more. Merge the samples of a step beforehand.
# How well known: the docstring says "Uniform sampling at fixed intervals" and "Imputation for missing values", not that
#   one sample replaces another; no issue about it was found.
# Source: pyhealth, processors/timeseries_processor.py, TimeseriesProcessor.process (`sampled_values[idx] = v`);
#   tasks/in_hospital_mortality_mimic4.py (pivot to one row for each time and one column for each item).
# Run: alone, or with lab.csv of the eICU demo (the subset that PyHealth's tests use) as the argument, to count there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ $# -gt 0 ]; then cp "$1" "$folder/lab.csv"; fi
for python in python3.12 python3; do
  if "$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check pyhealth==2.1.0 torch==2.15.0 torchvision==0.29.2 \
  polars==1.35.2 pandas==2.3.3 numpy==2.5.5 pyarrow==26.0.1 dask==2026.8.0 distributed==2026.8.0 litdata==0.2.67 \
  narwhals==2.29.0 mne==1.10.2 scikit-learn==1.9.1 scipy==1.18.1 transformers==5.23.0 rdkit==2026.9.1
export OMP_NUM_THREADS=1 HOME="$folder"
cd "$folder"
cat >show.py <<'PYTHON'
import os
from datetime import datetime, timedelta
from importlib.metadata import version

import numpy as np
import polars as pl
from pyhealth.datasets import MIMIC4EHRDataset
from pyhealth.processors import TimeseriesProcessor
from pyhealth.tasks import InHospitalMortalityMIMIC4

ITEMS = {"sodium": "50983", "potassium": "50971", "glucose": "50931"}
DAY = datetime(2150, 3, 1)
NIGHT = str(DAY + timedelta(days=8))


def write(table, columns, rows):
    os.makedirs(os.path.dirname(table), exist_ok=True)
    pl.DataFrame([[*map(str, row)] for row in rows], schema=columns.split(), orient="row").write_csv(table + ".csv")


def made_up(drawn):
    """Write two patients as MIMIC-IV has them, and return what a model for the task reads of each."""
    write("hosp/patients", "subject_id gender anchor_age anchor_year anchor_year_group dod",
          [[who, "F", 70, 2150, "2014 - 2016", ""] for who in (1, 2)])
    write("hosp/admissions", "subject_id hadm_id admittime dischtime admission_type admission_location insurance "
          "language marital_status race discharge_location hospital_expire_flag",
          [[who, who + 10, DAY, NIGHT, *["X"] * 7, who - 1] for who in (1, 2)])
    write("icu/icustays", "subject_id hadm_id stay_id first_careunit last_careunit intime outtime",
          [[who, who + 10, who + 20, "MICU", "MICU", DAY, NIGHT] for who in (1, 2)])
    write("hosp/d_labitems", "itemid label fluid category", [[k, name, "Blood", "X"] for name, k in ITEMS.items()])
    write("hosp/labevents", "subject_id hadm_id itemid charttime storetime value valuenum valueuom flag",
          [[who, who + 10, ITEMS[name], DAY + t, DAY + t, x, x, "", ""] for who, t, name, x in drawn])
    task = InHospitalMortalityMIMIC4()
    samples = MIMIC4EHRDataset(root=".", tables=["labevents"], cache_dir="cache").set_task(task, num_workers=1)
    column = {name: task.LABITEMS.index(item) for name, item in ITEMS.items()}
    return {s["patient_id"]: {name: s["labs"][:, k].numpy() for name, k in column.items()} for s in samples}


def erased(labs):
    """Count the pairs of an hour and a test with a value in the first 48 hours, and how many of them are gone."""
    tests = ["sodium", "potassium", "chloride", "bicarbonate", "HCO3", "glucose", "bedside glucose", "calcium"]
    labs = labs.filter(pl.col("labname").is_in([*tests, "magnesium", "anion gap", "phosphate"]))
    labs = labs.filter(pl.col("labresultoffset").is_between(0, 48 * 60 - 1), pl.col("labresult") > 0)
    measured = kept = 0
    for _, stay in labs.group_by("patientunitstayid", maintain_order=True):
        wide = stay.pivot("labname", index="labresultoffset", values="labresult", aggregate_function="first")
        wide = wide.sort("labresultoffset").cast(pl.Float64)
        minutes, values = wide["labresultoffset"].to_numpy(), wide.drop("labresultoffset").to_numpy()
        hours = (minutes - minutes[0]) // 60  # the processor's hours begin with the first sample
        measured += sum((values[hours == hour] > 0).any(axis=0).sum() for hour in set(hours))
        times = [DAY + timedelta(minutes=minute) for minute in minutes.tolist()]
        kept += int((TimeseriesProcessor(impute_strategy="zero").process((times, values)) > 0).sum())
    return measured, measured - kept


if __name__ == "__main__":
    early, between, late = (timedelta(hours=h, minutes=m) for h, m in ((9, 5), (9, 50), (15, 5)))
    same = [(early, "sodium", 138), (early, "potassium", 6.9), (late, "potassium", 4.1)]
    read = made_up([(who, *lab) for who in (1, 2) for lab in same] + [(2, between, "glucose", 180)])
    with open("seen", "w") as seen:
        names = ("pyhealth", "torch", "polars", "pandas", "numpy", "dask", "litdata")
        print(", ".join(f"{name} {version(name)}" for name in names), file=seen)
        drawn = "09:05 sodium 138, potassium 6.9; 15:05 potassium 4.1; from patient 2 also 09:50 glucose 180"
        print(f"drawn: {drawn}", file=seen)
        for who, tests in sorted(read.items()):
            rows = (f"{name} {' '.join(f'{x:g}' for x in values)}" for name, values in tests.items())
            print(f"patient {who}: {'; '.join(rows)}", file=seen)
        assert np.allclose(read["1"]["potassium"], [6.9] * 6 + [4.1]) and (read["1"]["sodium"] == 138).all()
        assert np.allclose(read["2"]["potassium"], [0] * 6 + [4.1]), "the potassium before the glucose is kept now"
        assert (read["2"]["sodium"] == 0).all() and (read["2"]["glucose"] == 180).all()
        if os.path.exists("lab.csv"):
            measured, gone = erased(pl.read_csv("lab.csv", infer_schema_length=None))
            print(f"eICU demo, first 48 hours: {gone} of {measured} hourly values of eleven such tests are erased "
                  f"({gone / measured:.0%})", file=seen)
            assert 0.05 < gone / measured < 0.2
        print("CONFIRMED: the last sample of an hour erases what was measured before it", file=seen)
PYTHON
"$folder/venv/bin/python" show.py >log 2>&1 || { tail -n 30 log >&2; exit 1; }
cat seen
