#!/usr/bin/env bash
# dcurves, asked to turn a marker into a risk of death within a year, takes the chance of survival for that risk.
#
# Expected: `models_to_prob` names columns "that need to be converted to risk scores from 0 to 1" (docstring of dca).
#   For a survival outcome that is the risk of the event until `time`, which dca compares with each threshold: those at
#   or above it are treated. The prevalence in the same table is such a risk (1 minus Kaplan-Meier), and for a binary
#   outcome the same argument gives the risk of the event, by logistic regression.
# What happens, without a warning: for a survival outcome it fits a Cox model and hands on predict_survival_function,
#   the chance to be free of the event at `time`. The patients with the lowest risks are treated first, and those with
#   the highest risks last. Below, a marker has at most the net benefit of treating everybody, and the better the marker
#   is, the lower is its curve. `net_intervention_avoided` follows. Handed a risk from elsewhere, dca is right.
# Versions: dcurves 1.1.7 (the newest), lifelines 0.30.3, statsmodels 0.15.0, pandas 2.3.3, numpy 2.4.6, scipy 1.17.1.
# Output seen:
#   2,000 patients, 32.2 % die within a year; net benefit of treating from a risk of 30 % on:
#                     hazard ratio      models_to_prob             by hand
#     marker              per SD     benefit    treated     benefit    treated
#     useless marker        0.99       0.031    100.0 %       0.031    100.0 %
#     fair marker           1.54       0.030     99.9 %       0.088     51.4 %
#     strong marker         2.89      -0.044     90.3 %       0.145     43.3 %
#     treat all                        0.031
#   treated by the strong marker from 50 % on: 1,560 patients, 21.5 % die; by hand 440, 70.0 %
#   strong marker against the probability of dcurves: Spearman -1.00, with a binary outcome +1.00
#   dcurves' own example (df_surv, marker, time 1), net benefit from 10, 15 and 20 % on:
#     models_to_prob  0.047 -0.009 -0.071
#     by hand         0.064  0.046  0.026
#     treat all       0.053 -0.003 -0.066
# Why it matters: a decision curve is read to decide whether a model is of use. A good biomarker or score looks worse
#   than no model at all, and a comparison of two markers comes out the wrong way round. Hand dca a risk of your own:
#   1 - predict_survival_function.
# How well known: not in the docstrings, the README or the changelog, and no issue about it was found. The tutorial
#   (decisioncurveanalysis.org) fits the Cox model outside and subtracts from 1. The package's test compares these
#   probabilities with those of the R package dcurves, whose source (0.5.1.9000) takes exp(-expected) at this place too,
#   so the two agree (R was read, not run). R's help warns that the conversion may miscalibrate.
# Source: dcurves, dcurves/risks.py (_calc_surv_risks); in R, R/dca.r (.convert_to_risk).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3.13 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  dcurves==1.1.7 lifelines==0.30.3 statsmodels==0.15.0 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1 matplotlib==3.11.2 \
  autograd==1.9.1 formulaic==1.2.2
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MPLBACKEND=agg MPLCONFIGDIR="$folder"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from importlib.metadata import version
from pathlib import Path

import dcurves
import numpy as np
import pandas as pd
from dcurves import dca
from lifelines import CoxPHFitter
from scipy.stats import spearmanr

warnings.simplefilter("error", UserWarning)
names = ("dcurves", "lifelines", "statsmodels", "pandas", "numpy", "scipy")
print(", ".join(f"{name} {version(name)}" for name in names))

PATIENTS, THRESHOLD = 2000, 0.3


def died_until(time, died, horizon):
    """By hand: 1 minus Kaplan-Meier at the horizon."""
    free = 1.0
    for at in np.unique(time[died & (time <= horizon)]):
        free *= 1 - (died & (time == at)).sum() / (time >= at).sum()
    return 1 - free


def net_benefit(risk, time, died, horizon, threshold):
    """By hand (Vickers et al. 2008): true positives less false ones, weighed by the odds of the threshold."""
    treated = risk >= threshold
    events = died_until(time[treated], died[treated], horizon) if treated.any() else 0.0
    return treated.mean() * (events - threshold / (1 - threshold) * (1 - events))


def cox(data, marker, time, died, horizon):
    """Return the risk of the event until the horizon, from the same model that dcurves fits, and the hazard ratio."""
    fitted = CoxPHFitter().fit(data[[time, died, marker]], time, died)
    ratio = float(np.exp(fitted.params_[marker] * data[marker].std()))
    return 1 - fitted.predict_survival_function(data[[marker]], times=horizon).to_numpy()[0], ratio


def curve(data, marker, time, died, horizon, thresholds, convert):
    found = dca(
        data=data,
        outcome=died,
        modelnames=[marker],
        thresholds=thresholds,
        models_to_prob=[marker] if convert else None,
        time=horizon,
        time_to_outcome_col=time,
    )
    return {name: part.set_index("threshold") for name, part in found.groupby("model")}


# A marker of strength 0 says nothing; the hazard of death grows by exp(strength) per standard deviation.
rng = np.random.default_rng(0)
markers = rng.normal(size=(3, PATIENTS))
strengths = {"useless marker": 0.0, "fair marker": 0.6, "strong marker": 1.2}
hazard = 0.25 * np.exp(np.array(list(strengths.values())) @ markers)
death = rng.exponential(1 / hazard)
leaves = rng.uniform(0.5, 4, PATIENTS)  # years until a patient is lost from sight
data = pd.DataFrame(dict(zip(strengths, markers, strict=True)))
data.columns = [name.replace(" ", "_") for name in data.columns]
data["years"], data["died"] = np.minimum(death, leaves), (death <= leaves).astype(int)
years, died = data["years"].to_numpy(), data["died"].to_numpy().astype(bool)
deaths = died_until(years, died, 1)

print(f"{PATIENTS:,} patients, {100 * deaths:.1f} % die within a year; net benefit of treating from a risk of 30 % on:")
print("                  hazard ratio      models_to_prob             by hand")
print("  marker              per SD     benefit    treated     benefit    treated")
converted, right = {}, {}
for name in strengths:
    column = name.replace(" ", "_")
    found = curve(data, column, "years", "died", 1, [THRESHOLD, 0.5], convert=True)
    risk, ratio = cox(data, column, "years", "died", 1)
    converted[name] = found[column].loc[THRESHOLD, "net_benefit"]
    right[name] = net_benefit(risk, years, died, 1, THRESHOLD)
    share = found[column].loc[THRESHOLD, "test_pos_rate"]
    print(
        f"  {name:18}{ratio:8.2f}{converted[name]:12.3f}{100 * share:9.1f} %"
        f"{right[name]:12.3f}{100 * (risk >= THRESHOLD).mean():9.1f} %"
    )
    # Handed a risk, dcurves agrees with the values by hand.
    handed = curve(data.assign(risk=risk), "risk", "years", "died", 1, [THRESHOLD, 0.5], convert=False)
    np.testing.assert_allclose(handed["risk"].loc[THRESHOLD, "net_benefit"], right[name], atol=1e-9)
everybody = found["all"].loc[THRESHOLD, "net_benefit"]
np.testing.assert_allclose(everybody, net_benefit(np.ones(PATIENTS), years, died, 1, THRESHOLD), atol=1e-9)
print(f"  treat all         {everybody:20.3f}")

# The last marker is the strong one: whom does each treat from 50 % on?
row = found["strong_marker"].loc[0.5]
number, of_those = round(row["test_pos_rate"] * PATIENTS), row["tp_rate"] / row["test_pos_rate"]
chosen = risk >= 0.5
of_right = died_until(years[chosen], died[chosen], 1)
print(
    f"treated by the strong marker from 50 % on: {number:,} patients, {100 * of_those:.1f} % die; "
    f"by hand {chosen.sum():,}, {100 * of_right:.1f} %"
)

# The probabilities themselves, and those of the same argument without a time to the event.
survival = dcurves.risks._create_risks_df(data, "died", ["strong_marker"], 1, "years")["strong_marker"]
binary = dcurves.risks._create_risks_df(data, "died", ["strong_marker"])["strong_marker"]
order_survival, order_binary = (spearmanr(data["strong_marker"], values)[0] for values in (survival, binary))
print(
    f"strong marker against the probability of dcurves: Spearman {order_survival:+.2f}, "
    f"with a binary outcome {order_binary:+.2f}"
)

# The package's own example for survival, with the arguments of its own test.
own = pd.read_csv(Path(dcurves.__file__).parent / "data" / "df_surv.csv")
thresholds = [0.1, 0.15, 0.2]
found = curve(own, "marker", "ttcancer", "cancer", 1, thresholds, convert=True)
own_risk, _ = cox(own, "marker", "ttcancer", "cancer", 1)
time, event = own["ttcancer"].to_numpy(), own["cancer"].to_numpy().astype(bool)
own_right = np.array([net_benefit(own_risk, time, event, 1, threshold) for threshold in thresholds])
own_converted, own_all = (found[name]["net_benefit"].to_numpy() for name in ("marker", "all"))
print("dcurves' own example (df_surv, marker, time 1), net benefit from 10, 15 and 20 % on:")
for name, values in (("models_to_prob", own_converted), ("by hand", own_right), ("treat all", own_all)):
    print(f"  {name:14}" + "".join(f"{value:7.3f}" for value in values))

np.testing.assert_allclose(survival, 1 - risk, atol=1e-9, err_msg="the probability is no longer that of survival")
assert order_survival < -0.99 and order_binary > 0.99, "the probability rises with the risk now"
# The better the marker, the worse it is said to be; in truth the better.
assert converted["strong marker"] < converted["fair marker"] < converted["useless marker"] <= everybody + 1e-9
assert right["strong marker"] > right["fair marker"] > right["useless marker"]
assert of_those < deaths < of_right, "the patients at high risk are treated first now"
assert (own_converted <= own_all + 1e-9).all() and (own_right > own_all).all()
print("CONFIRMED: the chance of survival counts as the risk, and the best marker looks the worst")
PYTHON
