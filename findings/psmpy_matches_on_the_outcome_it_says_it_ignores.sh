#!/usr/bin/env bash
# PsmPy matches patients on the outcome named as its target, which it says it ignores, and the effect of a drug is gone.
#
# Expected: `target` is the "outcome variable of interest, will ignore in regression/matching" (docstring of PsmPy). So
#   the propensity score is made from what was known before the treatment, and the outcomes of matched patients can be
#   compared. A column called "outcome", the default of `target`, is ignored as well.
# What happens, without a warning: the argument is stored and never used. The outcome is a covariate of the propensity
#   score, so treated and untreated patients are also matched by whether they died, and about as many die in both groups
#   whatever the drug does. Only `exclude` takes a column out. It drops it from the matched table as well; `target`
#   leaves it there, ready to be compared.
# Versions: psmpy 0.3.16 (the newest), scikit-learn 1.9.1, pandas 2.3.3, numpy 2.4.6, scipy 1.17.1, seaborn 0.13.2.
# Output seen:
#   8 cohorts of 1,000 patients; share of deaths with the drug less that without, mean (range):
#     a drug that saves lives; true effect in those who got it -0.179
#       all patients      -0.054 (-0.120 to +0.014), p < 0.05 in 3; age or lactate 0.56 SD apart
#       target="died"     +0.019 (-0.004 to +0.033), p < 0.05 in 0; age or lactate 0.17 SD apart
#       exclude=["died"]  -0.141 (-0.195 to -0.093), p < 0.05 in 8; age or lactate 0.13 SD apart
#     a drug that costs lives; true effect in those who got it +0.231
#       all patients      +0.336 (+0.297 to +0.381), p < 0.05 in 8; age or lactate 0.56 SD apart
#       target="died"     -0.010 (-0.033 to +0.008), p < 0.05 in 0; age or lactate 0.21 SD apart
#       exclude=["died"]  +0.249 (+0.221 to +0.274), p < 0.05 in 8; age or lactate 0.13 SD apart
#   covariates with target="died": ['age', 'lactate', 'died'];
#     with a column "outcome" and the default: ['age', 'lactate', 'outcome']
#   propensity scores the same with target="died" and without: True; with the name "outcome": True
# Why it matters: retrospective cohorts are matched to learn whether a treatment changes the outcome. Here the answer is
#   that it does not, for a drug that saves lives and for one that costs them, and age and lactate look balanced. Name
#   the outcome in `exclude` and join it by the patient's id afterwards.
# How well known: the README does not name `target`; it says that all covariates are used unless they are excluded. No
#   issue about it was found, and 0.2.8 has it too. One can notice: `xvars` and the plot of effect sizes list the
#   outcome among the covariates.
# Source: psmpy, psmpy/psmpy.py (PsmPy.__init__: `self.target`, `self.xvars`; logistic_ps).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3.13 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  psmpy==0.3.16 scikit-learn==1.9.1 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1 seaborn==0.13.2 matplotlib==3.11.2
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MPLBACKEND=agg MPLCONFIGDIR="$folder"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
from psmpy import PsmPy
from scipy.special import expit
from scipy.stats import chi2_contingency

warnings.simplefilter("error", UserWarning)
names = ("psmpy", "scikit-learn", "pandas", "numpy", "scipy", "seaborn")
print(", ".join(f"{name} {version(name)}" for name in names))

PATIENTS, COHORTS = 1000, 8


def cohort(rng, effect):
    """Return patients, the sicker of whom get a drug more often, and the drug's true effect on those who got it."""
    age, lactate = rng.normal(65, 10, PATIENTS), np.exp(rng.normal(0.5, 0.5, PATIENTS))
    sick = 0.06 * (age - 65) + 0.5 * (lactate - 1.8)
    drug = rng.random(PATIENTS) < expit(sick - 1.2)
    untreated, treated = expit(1.1 * sick - 1.2), expit(1.1 * sick - 1.2 + effect)
    died = rng.random(PATIENTS) < np.where(drug, treated, untreated)
    columns = {"pat_id": np.arange(PATIENTS), "age": age, "lactate": lactate, "drug": drug, "died": died}
    return pd.DataFrame(columns).astype({"drug": int, "died": int}), (treated - untreated)[drug].mean()


def matched(data, **settings):
    """Match as in the README of psmpy."""
    found = PsmPy(data.copy(), treatment="drug", indx="pat_id", **settings)
    found.logistic_ps(balance=True)
    found.kdtree_matched(matcher="propensity_logit", replacement=False, caliper=None, drop_unmatched=True)
    return found


def compared(data, ids):
    """By hand: the difference in deaths between treated and untreated of these patients, and its p-value."""
    chosen = data[data["pat_id"].isin(ids)]
    counts = pd.crosstab(chosen["drug"], chosen["died"]).to_numpy()
    without, with_drug = counts[:, 1] / counts.sum(axis=1)
    return with_drug - without, chi2_contingency(counts).pvalue


def imbalance(data, ids):
    """By hand: the larger of the standardised differences of age and lactate."""
    groups = [data[data["pat_id"].isin(ids) & (data["drug"] == drug)] for drug in (0, 1)]
    return max(abs(groups[1][name].mean() - groups[0][name].mean()) / data[name].std() for name in ("age", "lactate"))


seen = {}
print(f"{COHORTS} cohorts of {PATIENTS:,} patients; share of deaths with the drug less that without, mean (range):")
for drug, effect in (("saves lives", -1.1), ("costs lives", 1.1)):
    rng = np.random.default_rng(0)
    rows = {name: [] for name in ("all patients", 'target="died"', 'exclude=["died"]')}
    truth, balance = [], []
    for _ in range(COHORTS):
        data, true = cohort(rng, effect)
        truth.append(true)
        everybody = data["pat_id"]
        ignored, excluded = matched(data, target="died"), matched(data, exclude=["died"])
        assert "died" in ignored.df_matched and "died" not in excluded.df_matched
        by_row = (everybody, ignored.df_matched["pat_id"], excluded.df_matched["pat_id"])
        for name, ids in zip(rows, by_row, strict=True):
            rows[name].append(compared(data, ids))
        balance.append([imbalance(data, ids) for ids in by_row])
    print(f"  a drug that {drug}; true effect in those who got it {np.mean(truth):+.3f}")
    for name, values, apart in zip(rows, rows.values(), np.mean(balance, axis=0), strict=True):
        differences, p_values = np.array(values).T
        print(
            f"    {name:18}{differences.mean():+.3f} ({differences.min():+.3f} to {differences.max():+.3f}), "
            f"p < 0.05 in {(p_values < 0.05).sum()}; age or lactate {apart:.2f} SD apart"
        )
        seen[drug, name] = differences, p_values
    seen[drug] = np.mean(truth)

# The last cohort again: what the argument does.
without = matched(data).predicted_data
named = matched(data.rename(columns={"died": "outcome"}))
scores = "propensity_score"
same = np.array_equal(ignored.predicted_data[scores], without[scores])
same_default = np.array_equal(named.predicted_data[scores], without[scores])
print(f'covariates with target="died": {ignored.xvars}; with a column "outcome" and the default: {named.xvars}')
print(f'propensity scores the same with target="died" and without: {same}; with the name "outcome": {same_default}')

assert same and same_default, "the target changes the propensity score now"
assert "died" in ignored.xvars and "outcome" in named.xvars, "the target is no covariate now"
for drug in ("saves lives", "costs lives"):
    true = seen[drug]
    on_target, p_target = seen[drug, 'target="died"']
    on_covariates, p_covariates = seen[drug, 'exclude=["died"]']
    assert abs(on_target.mean()) < 0.25 * abs(true), "the effect of the drug is seen now"
    assert abs(on_covariates.mean() - true) < 0.25 * abs(true)
    assert (p_target < 0.05).sum() <= 1 and (p_covariates < 0.05).sum() >= 6
print("CONFIRMED: matched on the outcome, a drug that changes it seems to do nothing")
PYTHON
