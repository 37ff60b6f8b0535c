#!/usr/bin/env bash
# The `calibration_error` of meds-evaluation gives a bin with one patient the weight of a bin with thousands.
#
# Expected: an expected calibration error, in which each bin counts by its share of the patients (as in Guo et al. 2017,
#   "On Calibration of Modern Neural Networks"). meds-evaluation is the scorer that goes with MEDS-DEV; neither its
#   README nor the docstrings define the number.
# What happens: it is the plain mean over the non-empty tenths of scikit-learn's calibration_curve, which returns no
#   counts. Outcomes in health records are rare, so nearly all patients lie in one or two bins and the number is made by
#   the few in the others:
#   - 10,000 patients, 2 % die, everybody is told 2 %: 0. One survivor is told 95 % instead: 0.475.
#   - true probabilities score worse than the same ones times 1.6 and cut at 0.25, which leave the sparse tenths empty
#     (in 197 of 200 simulations like the one below).
# Versions: meds-evaluation 0.0.6, scikit-learn 1.8.0, polars 1.35.2, pyarrow 22.0.0, numpy 2.3.5, scipy 1.16.3.
# Output seen:
#                                          calibration_error     ECE   Brier  patients per tenth
#   everybody is told 2 %                              0.000  0.0000  0.0196  10000 0 0 0 0 0 0 0 0 0
#   one survivor is told 95 %                          0.475  0.0001  0.0197  9999 0 0 0 0 0 0 0 0 1
#   true probabilities                                 0.093  0.0032  0.0456  8618 981 281 77 28 9 4 2 0 0
#   times 1.6, cut at 0.25                             0.027  0.0203  0.0473  7429 1556 1015 0 0 0 0 0 0 0
# Why it matters: a model that dares a high risk for a few patients looks far worse calibrated than one that never does,
#   and the order of models can be the opposite of that by ECE or Brier score. Numbers from MEDS-DEV must not be put
#   beside an ECE from a paper or another framework.
# How well known: not documented, and no issue about it was found; the repository's main branch has the same lines.
# Source: meds-evaluation, src/meds_evaluation/evaluate.py, function _get_binary_classification_metrics; its README,
#   section "MEDS Ecosystem"; scikit-learn, reference of sklearn.calibration.calibration_curve (its two return values).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  meds-evaluation==0.0.6 meds==0.4.1 flexible-schema==0.1.1 scikit-learn==1.8.0 polars==1.35.2 pyarrow==22.0.0 \
  numpy==2.3.5 scipy==1.16.3
export OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime
from importlib.metadata import version

import numpy as np
import polars as pl
from meds_evaluation.evaluate import evaluate_binary_classification

print(", ".join(f"{name} {version(name)}" for name in ("meds-evaluation", "scikit-learn", "polars", "pyarrow")))


def scores(died, risk):
    """What meds-evaluation says (one prediction per patient, each counted once), and the ECE over the same ten bins."""
    n = len(died)
    table = pl.DataFrame(
        {
            "subject_id": np.arange(n),
            "prediction_time": [datetime(2020, 1, 1)] * n,
            "boolean_value": died.astype(bool),
            "predicted_boolean_value": risk >= 0.5,
            "predicted_boolean_probability": risk,
        }
    )
    found = evaluate_binary_classification(table)["samples_equally_weighted"]
    bin_of = np.minimum((risk * 10).astype(int), 9)
    gaps = [(risk - died)[bin_of == k].sum() for k in range(10)]
    counts = np.bincount(bin_of, minlength=10)
    return {
        "meds": float(found["calibration_error"]),
        "ece": float(np.abs(gaps).sum() / n),
        "bins": float(np.mean([abs(gap) / count for gap, count in zip(gaps, counts) if count])),
        "brier": float(found["brier_score"]),
        "counts": counts,
    }


print(f"{'':38} calibration_error     ECE   Brier  patients per tenth")
shown = {}


def show(name, died, risk):
    shown[name] = found = scores(died, risk)
    print(
        f"{name:38} {found['meds']:17.3f} {found['ece']:7.4f} {found['brier']:7.4f}  "
        + " ".join(str(count) for count in found["counts"])
    )
    assert abs(found["meds"] - found["bins"]) < 1e-5, "it is no longer the plain mean over the bins"
    return found


n = 10_000
died = np.zeros(n)
died[:200] = 1
same = np.full(n, 0.02)
before = show("everybody is told 2 %", died, same)
one = same.copy()
one[-1] = 0.95
after = show("one survivor is told 95 %", died, one)

rng = np.random.default_rng(3)
true = 1 / (1 + np.exp(-rng.normal(-3.5, 1.2, n)))
died = (rng.random(n) < true).astype(float)
right = show("true probabilities", died, true)
wrong = show("times 1.6, cut at 0.25", died, np.minimum(1.6 * true, 0.25))

assert before["meds"] < 1e-6
assert after["meds"] > 0.47 and after["ece"] < 2e-4, "one patient in 10,000 no longer moves it by half"
assert right["ece"] < wrong["ece"] / 2 and right["brier"] < wrong["brier"]
assert right["meds"] > wrong["meds"], "true probabilities no longer score worse than overstated ones"
print("CONFIRMED: calibration_error counts bins, not patients, and puts true probabilities behind overstated ones")
PYTHON
