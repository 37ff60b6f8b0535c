#!/usr/bin/env bash
# ehrdata, which reads OMOP tables for ehrapy, fills the row of a visit with what was measured after its end.
#
# Expected: with observation_table="person_visit_occurrence" a row is one visit (docstring of setup_obs; the tutorial
#   on OMOP recommends these rows to predict outcomes of a visit). A measurement names its visit (visit_occurrence_id),
#   and a visit has an end, so the row of a visit holds the values of that visit.
# What happens, without a warning: values are joined by person and by the time since the visit began. The query selects
#   the visit's end and does nothing with it, and it does not look at visit_occurrence_id. Intervals after the end are
#   filled with the values of the person's next visit; one value stands in the rows of both. Drugs
#   (setup_interval_variables) behave the same.
# Versions: ehrdata 0.4.0 (the newest), duckdb 2.0.1, pandas 2.3.3, numpy 2.4.6, xarray 2026.9.0; Python 3.12 or later.
# Output seen:
#   hours since the visit began     0-6    6-12   12-18   18-24
#   lactate, visit of 08:00-12:00   1.1     nan     7.8     9.5
#   lactate, visit of 20:00 on      7.8     9.5     nan     nan
#   noradrenaline, first visit      nan     nan     1.0     nan
#   1,000 first visits of 4 to 8 hours; 300 patients come back within 24 hours of its beginning:
#     intervals with a value: 1,300, of which in the first visit: 1,000
#     AUROC of the highest lactate for "comes back": of the visit 0.49, of its row 0.93
#     AUROC of the number of intervals with a value: of the visit 0.50, of its row 1.00
# Why it matters: short visits come before others (from the emergency department to the ward, home and back). What is
#   to be predicted, a readmission or a death in it, then stands among the features, and the gaps alone tell it.
# How well known: not in the docstrings, the tutorials or the changelog, and no issue about it was found. The tests of
#   two visits of one person look at the first day or two of visits that begin two months apart (pull request 210). To
#   be safe, set to missing what lies after the end of a visit, or let no other visit's values into the tables.
# Source: ehrdata, src/ehrdata/io/omop/_queries.py, function _write_long_time_interval_table (`end_date`).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3.13 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  ehrdata==0.4.0 anndata==0.13.4 duckdb==2.0.1 pandas==2.3.3 numpy==2.4.6 xarray==2026.9.0 sparse==0.19.3 \
  zarr==3.4.2 scipy==1.18.1 h5py==3.16.0 fast-array-utils==1.5.1 pooch==1.9.0 rich==15.0.0
export OMP_NUM_THREADS=1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import logging
import warnings
from importlib.metadata import version

import duckdb
import ehrdata as ed
import numpy as np
import pandas as pd

# "multiple units for features: []" is logged for every table, also for one with a single unit.
said = []
logging.getLogger().addFilter(lambda record: said.append(record.getMessage()))
warnings.simplefilter("error", UserWarning)
print(", ".join(f"{name} {version(name)}" for name in ("ehrdata", "duckdb", "pandas", "numpy", "xarray")))

LACTATE, NORADRENALINE, INPATIENT, MMOL_PER_L = 3047181, 1321341, 9201, 8753
HOUR = pd.Timedelta("1h")
GRID = {"interval_length_number": 6, "interval_length_unit": "h", "num_intervals": 4}


def dated(name, times):
    """Return the two columns in which OMOP keeps a time."""
    times = pd.Series(times)
    return {f"{name}_date": times.dt.normalize(), f"{name}_datetime": times}


def database(visits, lactates):
    """Write OMOP tables; visits: (visit, person, start, end), lactates: (person, visit, time, value)."""
    visit, person, start, end = zip(*visits, strict=True)
    of, named, time, value = zip(*lactates, strict=True)
    people = sorted(set(person))
    tables = {
        "person": {"person_id": people, "birth_datetime": pd.Timestamp("2100-01-01")},
        "visit_occurrence": {
            "visit_occurrence_id": visit,
            "person_id": person,
            "visit_concept_id": INPATIENT,
            **dated("visit_start", start),
            **dated("visit_end", end),
        },
        "measurement": {
            "measurement_id": range(len(lactates)),
            "person_id": of,
            "visit_occurrence_id": named,
            "measurement_concept_id": LACTATE,
            **dated("measurement", time),
            "value_as_number": value,
            "unit_concept_id": MMOL_PER_L,
            "unit_source_value": "mmol/L",
        },
    }
    connection = duckdb.connect()
    for name, columns in tables.items():
        write(connection, name, columns)
    return connection


def write(connection, name, columns):
    connection.register("columns", pd.DataFrame(columns))
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM columns")
    connection.unregister("columns")


def lactate_rows(connection):
    """Return the first 24 hours of each visit in four intervals, by ehrdata."""
    data = ed.io.omop.setup_variables(
        ed.io.omop.setup_obs(connection, "person_visit_occurrence"),
        backend_handle=connection,
        data_tables="measurement",
        data_field_to_keep="value_as_number",
        time_precision="datetime",
        **GRID,
    )
    return data.X[:, 0]


# One person: four hours in the morning, sent home, and back in shock in the evening.
day = pd.Timestamp("2150-03-01")
visits = [(11, 1, day + 8 * HOUR, day + 12 * HOUR), (12, 1, day + 20 * HOUR, day + 68 * HOUR)]
lactates = [(1, 11, day + 9 * HOUR, 1.1), (1, 12, day + 21 * HOUR, 7.8), (1, 12, day + 29 * HOUR, 9.5)]
connection = database(visits, lactates)
drug = {"drug_exposure_id": [1], "person_id": [1], "visit_occurrence_id": [12], "drug_concept_id": [NORADRENALINE]}
times = dated("drug_exposure_start", [day + 22 * HOUR]) | dated("drug_exposure_end", [day + 40 * HOUR])
write(connection, "drug_exposure", drug | times)

first, second = lactate_rows(connection)
drugs = ed.io.omop.setup_interval_variables(
    ed.io.omop.setup_obs(connection, "person_visit_occurrence"),
    backend_handle=connection,
    data_tables="drug_exposure",
    data_field_to_keep="is_present",
    time_precision="datetime",
    **GRID,
).X[0, 0]
print("hours since the visit began     0-6    6-12   12-18   18-24")
rows = {
    "lactate, visit of 08:00-12:00": first,
    "lactate, visit of 20:00 on": second,
    "noradrenaline, first visit": drugs,
}
for name, row in rows.items():
    print(f"{name:29}" + "".join(f"{value:6.1f}  " for value in row).rstrip())

# A cohort in which the first visit says nothing about who comes back.
rng = np.random.default_rng(0)
patients = 1000
back = rng.permutation(np.arange(patients) < 300)
visits, lactates, own = [], [], []
for person in range(patients):
    start = day + 8 * HOUR
    visits.append((person, person, start, start + rng.uniform(4, 8) * HOUR))
    # Both values are drawn before any visit ends, so each of them belongs into the first interval.
    own.append(np.round(rng.lognormal(0.4, 0.4, 2), 1))
    lactates += [(person, person, start + hour * HOUR, value) for hour, value in zip((1, 3), own[-1], strict=True)]
    if back[person]:
        again = start + rng.uniform(12, 22) * HOUR
        visits.append((patients + person, person, again, again + 48 * HOUR))
        lactates.append((person, patients + person, again + HOUR, np.round(rng.lognormal(1.2, 0.4), 1)))
connection = database(visits, lactates)
table = lactate_rows(connection)[:patients]
# By hand: the last value of the visit itself, in its interval.
right = np.full((patients, 4), np.nan)
right[:, 0] = [values[-1] for values in own]


def auroc(score):
    pairs = score[back][:, None] - score[~back]
    return (pairs > 0).mean() + 0.5 * (pairs == 0).mean()


held = {name: np.isfinite(values) for name, values in (("row", table), ("visit", right))}
highest = [auroc(np.nanmax(values, axis=1)) for values in (right, table)]
filled = [auroc(held[name].sum(axis=1)) for name in ("visit", "row")]
print(f"{patients:,} first visits of 4 to 8 hours; {back.sum()} patients come back within 24 hours of its beginning:")
print(f"  intervals with a value: {held['row'].sum():,}, of which in the first visit: {held['visit'].sum():,}")
print(f'  AUROC of the highest lactate for "comes back": of the visit {highest[0]:.2f}, of its row {highest[1]:.2f}')
print(f"  AUROC of the number of intervals with a value: of the visit {filled[0]:.2f}, of its row {filled[1]:.2f}")

same = np.testing.assert_array_equal
assert set(said) <= {"multiple units for features: []"}, f"it says something now: {set(said)}"
same(first, [1.1, np.nan, 7.8, 9.5], "the values of the next visit no longer enter the first")
same(second, [7.8, 9.5, np.nan, np.nan])
same(drugs, [np.nan, np.nan, 1, np.nan], "the drug of the next visit no longer enters the first")
same(table[~back], right[~back])
same(table[:, 0], right[:, 0])
assert held["visit"].sum() == patients and held["row"].sum() == patients + back.sum()
assert abs(highest[0] - 0.5) < 0.05 and highest[1] > 0.9, "the rows no longer tell who comes back"
assert filled == [0.5, 1.0]
print("CONFIRMED: the row of a visit holds the values of the next one")
PYTHON
