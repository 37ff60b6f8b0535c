"""Ask icu-leakage-check whether eagbench's records hold laboratory results that nobody knew yet.

    scripts/leakage_check.py PYTHON --eicu FOLDER [--mimic4 FOLDER]

PYTHON is an interpreter that has icu-leakage-check (`pip install icu-leakage-check==0.1.0`, in an environment of its
own). FOLDER holds the eICU demo's CSV files, or hosp/ and icu/ in MIMIC-IV's form, such as a generated hospital. For
each data set, and for `availability: drawn` and `known`, the script traces every laboratory value of the records back
to its row in the source, and hands the row's two times to the package's check `event_timing`.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from eagbench.api import Cohort, StageRun, vocabulary
from eagbench_plugins.datasets.eicu.dataset import Eicu
from eagbench_plugins.datasets.eicu.params import EicuParams
from eagbench_plugins.datasets.mimic4.dataset import Mimic4
from eagbench_plugins.datasets.mimic4.params import Mimic4Params

Availability = Literal["drawn", "known"]
# Runs under the other interpreter. Times are numbers: minutes since the start of the window.
AUDIT = """
import sys
import pandas as pd
from icu_leakage_check import Severity, audit
cases, events = (pd.read_csv(f"{sys.argv[1]}/{name}.csv", dtype={"patient": str}) for name in ("cases", "events"))
found = audit(cases, label="label", patient_id="patient", stay_id="entity_id", index_time="index_time", events=events)
for finding in found.findings:
    if finding.check_id == "event_timing":
        print(f"  {finding.status} {Severity(finding.severity).name} event_timing: {finding.message}")
"""


def in_records(cohort: Cohort) -> pd.DataFrame:
    """List every value of the records: `entity_id`, `minute`, `concept`, `recorded`."""
    rows = [
        (case.case_id, round(60 * float(hour)), name, float(value))
        for case in cohort.cases
        for hour, line in zip(case.times, case.values, strict=True)
        for name, value in zip(case.features, line, strict=True)
        if not np.isnan(value)
    ]
    return pd.DataFrame(rows, columns=["entity_id", "minute", "concept", "recorded"])


def concepts(source: str, table: str, key: str) -> dict[Any, str]:
    """Return the concept of each laboratory test that the vocabulary reads."""
    return {place.keys[key]: place.concept for place in vocabulary().source(source) if place.keys["table"] == table}


def eicu_rows(root: Path) -> pd.DataFrame:
    """Read eICU's laboratory rows with both times, in minutes since unit admission."""
    lab = pd.read_csv(root / "lab.csv").dropna(subset=["labresult"])
    return pd.DataFrame(
        {
            "entity_id": lab["patientunitstayid"].astype(str),
            "minute": lab["labresultoffset"],
            "concept": lab["labname"].map(concepts("eicu", "lab", "labname")),
            "available": lab["labresultrevisedoffset"],
            "value": lab["labresult"],
        }
    ).dropna(subset=["concept"])


def mimic_rows(root: Path) -> pd.DataFrame:
    """Read MIMIC-IV's laboratory rows of each ICU stay with both times, in minutes since ICU admission."""
    labs = pd.read_csv(root / "hosp/labevents.csv.gz", parse_dates=["charttime", "storetime"], low_memory=False)
    stays = pd.read_csv(root / "icu/icustays.csv.gz", parse_dates=["intime"])[["subject_id", "stay_id", "intime"]]
    found = labs.dropna(subset=["valuenum"]).merge(stays, on="subject_id")
    return pd.DataFrame(
        {
            "entity_id": found["stay_id"].astype(str),
            "minute": (found["charttime"] - found["intime"]).dt.total_seconds() // 60,
            "concept": found["itemid"].map(concepts("mimic4", "labevents", "itemid")),
            "available": (found["storetime"] - found["intime"]).dt.total_seconds() / 60,
            "value": found["valuenum"],
        }
    ).dropna(subset=["concept"])


def check(python: str, cohort: Cohort, rows: pd.DataFrame, predicted: float) -> None:
    """Print what the package says of the records' laboratory values."""
    held = in_records(cohort).merge(rows, on=["entity_id", "minute", "concept"])
    # Of several rows at a time the record holds one; the row of its value, or in another unit the first known.
    held["differs"] = ~np.isclose(held["recorded"], held["value"], rtol=1e-5)
    held = held.sort_values(["differs", "available"]).drop_duplicates(["entity_id", "minute", "concept"])
    wide = in_records(cohort).pivot_table("recorded", "entity_id", "concept", aggfunc="last")
    cases = pd.DataFrame({"entity_id": cohort.cases.case_ids, "patient": cohort.cases.patient_ids})
    cases = cases.assign(label=cohort.labels, index_time=predicted).merge(wide.reset_index(), on="entity_id")
    events = held.rename(columns={"minute": "event_time", "available": "available_time", "concept": "variable"})
    print(f"  {len(held):,} laboratory values of {len(cases):,} cases", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        cases.to_csv(Path(folder) / "cases.csv", index=False)
        events.to_csv(Path(folder) / "events.csv", index=False)
        subprocess.run([python, "-c", AUDIT, folder], check=True)


def main() -> None:
    """Check each data set before and after."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("python")
    parser.add_argument("--eicu", type=Path)
    parser.add_argument("--mimic4", type=Path)
    given = parser.parse_args()
    choices: tuple[Availability, ...] = ("drawn", "known")
    for availability in choices:
        with tempfile.TemporaryDirectory() as folder:
            run = StageRun(params={}, inputs={}, seed=0, out=Path(folder))
            if given.eicu:
                eicu = EicuParams(root=given.eicu, tables=("lab",), access="open", availability=availability)
                print(f"eicu, availability: {availability}")
                check(given.python, Eicu(eicu).load(run).collect(), eicu_rows(given.eicu), 24 * 60)
            if given.mimic4:
                mimic4 = Mimic4Params(root=str(given.mimic4), availability=availability)
                print(f"mimic4, availability: {availability}")
                check(given.python, Mimic4(mimic4).load(run).collect(), mimic_rows(given.mimic4), 48 * 60)


if __name__ == "__main__":
    main()
