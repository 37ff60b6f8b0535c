#!/usr/bin/env bash
# ehrapy's winsorize, called as in its own example, gives every patient the same value.
#
# Expected: its default limits, (0.01, 0.99), read like quantiles: the lowest and the highest 1 % are pulled in, the
#   rest stays. Missing values stay missing and do not count (ehrapy tells SciPy to omit them).
# What happens, without a warning:
#   - SciPy takes the limits as the shares to cut at each end. The default cuts 1 % below and 99 % above: a feature, or
#     a column of .obs, becomes the value at its lowest 1 % for everybody. Missing values stay missing.
#   - With (0.01, 0.01), which is right, SciPy counts the missing values as the largest ones. As soon as 1 % is missing,
#     the top is not cut at all, and a typing error stays; with half missing, 2 % of the measured are cut below.
#   - clip_quantile computes no quantile: (0.01, 0.99) makes every potassium 0.99. (Its docstring speaks of an
#     interval.) With copy=True it changes the original as well.
# Versions: ehrapy 0.15.0 (the newest), ehrdata 0.4.0, scipy 1.18.1, numpy 2.4.6, pandas 2.3.3; Python 3.12 or later.
# Output seen:
#   potassium (mmol/L) of 1,000 patients         lowest  highest  values  raised  lowered  AUROC for death
#   as measured                                    2.64    41.20     216       0        0             0.94
#   winsorize                                      3.23     3.23       1      10      989             0.50
#   winsorize, half of the values missing          3.43     3.43       1      10      489             0.50
#   limits=(0.01, 0.01)                            3.23     5.60     198      10       10             0.94
#   limits=(0.01, 0.01), 1 % missing               3.24    41.20     206      10        0             0.94
#   limits=(0.01, 0.01), half missing              3.43    41.20     178      10        0             0.94
#   ages: 27 to 99, after winsorize [36.0]
#   clip_quantile with limits (0.01, 0.99): [0.99]
#   clip_quantile with copy=True: 101 values of the original are changed
# Why it matters: the one value is a plausible one, so checks of ranges and of gaps pass. A model loses the measurement,
#   a table shows two groups of patients alike, and nothing says so.
# How well known: the docstring calls the limits percentages to cut on each side and has this default; the tests name
#   limits of their own. It is as old as the function (pull request 418, 2022), and no issue about it was found. That
#   SciPy counts missing values is known (scipy 15660 and 17288, closed). Clip at numpy.nanquantile instead.
# Source: ehrapy, ehrapy/preprocessing/_outliers.py (winsorize, clip_quantile); SciPy, scipy/stats/_mstats_basic.py
#   (winsorize).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3.13 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  ehrdata==0.4.0 anndata==0.13.4 scanpy==1.12.4 scipy==1.18.1 numpy==2.4.6 pandas==2.3.3 numba==0.68.1 \
  scikit-learn==1.9.1 statsmodels==0.15.0 lifelines==0.30.3 tableone==0.9.6 missingno==0.5.2 matplotlib==3.11.2 \
  holoviews==1.23.2 bokeh==3.10.2 panel==1.10.0 seaborn==0.13.2 array-api-compat==1.16.0 Bottleneck==1.6.0 \
  "scverse-misc[settings]==0.1.7" fast-array-utils==1.5.1 sparse==0.19.3 xarray==2026.9.0 zarr==3.4.2 duckdb==2.0.1 \
  h5py==3.16.0 pooch==1.9.0 rich==15.0.0
# What ehrapy imports only inside functions that are not called here (imputation, FHIR) is left out.
"$folder/venv/bin/pip" install -qq --disable-pip-version-check --no-deps ehrapy==0.15.0
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MPLCONFIGDIR="$folder" NUMBA_CACHE_DIR="$folder"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from importlib.metadata import version

import ehrapy as ep
import ehrdata as ed
import numpy as np
import pandas as pd

warnings.simplefilter("error")
print(", ".join(f"{name} {version(name)}" for name in ("ehrapy", "ehrdata", "scipy", "numpy", "pandas")))

PATIENTS = 1000
rng = np.random.default_rng(0)
died = np.arange(PATIENTS) < 100
measured = np.round(rng.normal(4.2, 0.4, PATIENTS) + 0.8 * died, 2)
# In one value the point stands a place too far to the right.
measured[-1] = 41.2
age = np.round(rng.normal(65, 12, PATIENTS))


def with_missing(share):
    """Return the potassium with that share of the patients not measured, never the one with the typing error."""
    values = measured.copy()
    values[rng.permutation(PATIENTS - 1)[: round(share * PATIENTS)]] = np.nan
    return values


def patients(values):
    obs = pd.DataFrame({"age": age}, index=[str(patient) for patient in range(PATIENTS)])
    return ed.EHRData(values[:, None].copy(), obs=obs, var=pd.DataFrame(index=["potassium"]))


def winsorized(values, **limits):
    data = patients(values)
    ep.pp.winsorize(data, vars=["potassium"], obs_cols=["age"], **limits)
    assert (np.isnan(data.X[:, 0]) == np.isnan(values)).all()
    return data.X[:, 0], data.obs["age"].to_numpy()


def cut(before, after):
    """Return how many of the measured values were raised, and how many lowered."""
    return int((after > before).sum()), int((after < before).sum())


def auroc(values):
    low, high = (values[chosen & ~np.isnan(values)] for chosen in (~died, died))
    pairs = high[:, None] - low
    return (pairs > 0).mean() + 0.5 * (pairs == 0).mean()


print("potassium (mmol/L) of 1,000 patients         lowest  highest  values  raised  lowered  AUROC for death")
seen = {}
few, half = with_missing(0.01), with_missing(0.5)
right = {"limits": (0.01, 0.01)}
for name, before, after in (
    ("as measured", measured, measured),
    ("winsorize", measured, winsorized(measured)[0]),
    ("winsorize, half of the values missing", half, winsorized(half)[0]),
    ("limits=(0.01, 0.01)", measured, winsorized(measured, **right)[0]),
    ("limits=(0.01, 0.01), 1 % missing", few, winsorized(few, **right)[0]),
    ("limits=(0.01, 0.01), half missing", half, winsorized(half, **right)[0]),
):
    known = after[~np.isnan(after)]
    seen[name] = (float(known.min()), float(known.max()), len(set(known)), *cut(before, after), auroc(after))
    lowest, highest, values, raised, lowered, area = seen[name]
    print(f"{name:44}{lowest:7.2f}{highest:9.2f}{values:8}{raised:8}{lowered:9}{area:17.2f}")
ages = sorted({float(years) for years in winsorized(measured)[1]})
print(f"ages: {age.min():.0f} to {age.max():.0f}, after winsorize {ages}")

data = patients(measured)
ep.pp.clip_quantile(data, (0.01, 0.99), vars=["potassium"])
clipped = sorted({float(value) for value in data.X[:, 0]})
original = patients(measured)
ep.pp.clip_quantile(original, (3.5, 5.0), vars=["potassium"], copy=True)
changed = int((original.X[:, 0] != measured).sum())
print(f"clip_quantile with limits (0.01, 0.99): {clipped}")
print(f"clip_quantile with copy=True: {changed} values of the original are changed")

COUNT, RAISED, LOWERED, AUROC = 2, 3, 4, 5
for name in ("winsorize", "winsorize, half of the values missing"):
    assert seen[name][COUNT] == 1 and seen[name][AUROC] == 0.5, "winsorize leaves more than one value now"
assert len(ages) == 1
# SciPy does what it promises where nothing is missing.
assert seen["limits=(0.01, 0.01)"][RAISED : LOWERED + 1] == (10, 10)
assert seen["limits=(0.01, 0.01)"][1] < 6
for name in ("limits=(0.01, 0.01), 1 % missing", "limits=(0.01, 0.01), half missing"):
    assert seen[name][1] == 41.2 and seen[name][RAISED : LOWERED + 1] == (10, 0), "missing values no longer count"
assert clipped == [0.99], "clip_quantile computes quantiles now"
assert changed > 0, "copy=True leaves the original alone now"
print("CONFIRMED: everybody has one potassium, and a typing error survives where values are missing")
PYTHON
