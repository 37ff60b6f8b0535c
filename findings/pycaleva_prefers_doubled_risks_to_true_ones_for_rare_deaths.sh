#!/usr/bin/env bash
# pycaleva, for the calibration of clinical models, finds doubled risks better than the true ones where deaths are rare.
#
# Expected: its "area within the LOWESS curve" (AWLC) is the distance between the smoothed observed risk and the
#   diagonal. It is 0 for risks that are right, and larger for risks that are twice too high. A test of calibration, and
#   errors by group, do not depend on the order in which the patients stand.
# What happens, without a warning:
#   - The area is taken from 0 to 1, also where no patient's risk lies. Beyond the highest risk the curve runs on with
#     the slope that the few patients with the highest risks happen to give it, below 0 or above 1. Where 6 in 100 die,
#     nearly all of the area lies there: true risks get anything from 0.02 to 1.01, and doubled risks a smaller area
#     more often than not. calibration_plot draws this part like the rest.
#   - Where many patients share a risk (a language model that says 10 % or 20 %), groups of equal size cut through them
#     by the order of their rows. The tests of Hosmer-Lemeshow and Pigeon-Heyse, ACE and MCE change with that order.
# Versions: pycaleva 0.8.2 (the newest), statsmodels 0.15.0, scipy 1.18.1, pandas 2.3.3, numpy 2.4.6; Python 3.12 or
#   later.
# Output seen:
#   100 cohorts of 1,000 patients, 6.2% die; median (range):
#                       AWLC                    at the patients' own risks
#     true risks        0.335 (0.017 to 1.006)  0.010 (0.004 to 0.021)
#     doubled risks     0.254 (0.057 to 0.488)  0.063 (0.048 to 0.083)
#     doubled is better in 62 of 100            in 0
#     true risks from 0 to 1, half of the patients die: AWLC 0.014 (0.006 to 0.022)
#     highest true risk 0.263 (0.219 to 0.393); share of the area beyond it 0.976 (0.739 to 0.990)
#     the curve of the true risks goes below 0 or above 1 in 82 cohorts
#   six stated risks, the same 1,000 patients in 200 orders:
#     Hosmer-Lemeshow p: 0.000 to 0.362, below 0.05 in 59; by stated risk 0.119
#     adaptive calibration error: 0.033 to 0.050, by stated risk 0.039
#   (Which order gives which value differs a little with the processor, which sorts equal numbers in its own way.)
# Why it matters: deaths and readmissions are rare, and few patients have a risk above one half. AWLC then ranks models
#   by chance, and cannot be compared between cohorts or outcomes. Language models state few different risks, so a file
#   in another order can change the verdict. Take the mean distance of the curve from the diagonal at the patients' own
#   risks, and group patients by the stated risk.
# How well known: not in the docstrings, the documentation or its example, and no issue about it was found. The area is
#   as old as the package (2022). That LOWESS of statsmodels goes on beyond the data is known (statsmodels 7337, open),
#   and so is that Hosmer-Lemeshow depends on the choice of groups. For shared risks the contingency table shows ranks
#   such as (200.8, 300.7] where risks stood, which one can notice.
# Source: pycaleva, _basecalib.py: __nonparametric_fit (`np.arange(0,1,0.005)`), group_data (`rank(method='first')`).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3.13 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  pycaleva==0.8.2 statsmodels==0.15.0 scipy==1.18.1 scikit-learn==1.9.1 pandas==2.3.3 numpy==2.4.6 matplotlib==3.11.2 \
  fpdf2==2.8.9 ipython==9.18.1 tqdm==4.70.1
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MPLBACKEND=agg MPLCONFIGDIR="$folder" IPYTHONDIR="$folder"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np
from pycaleva import CalibrationEvaluator
from scipy.stats import chi2
from statsmodels.nonparametric.smoothers_lowess import lowess

warnings.simplefilter("error", UserWarning)
names = ("pycaleva", "statsmodels", "scipy", "pandas", "numpy")
print(", ".join(f"{name} {version(name)}" for name in names))

PATIENTS, COHORTS, ORDERS = 1000, 100, 200
rng = np.random.default_rng(0)


def evaluated(died, risk):
    return CalibrationEvaluator(died, risk, outsample=True)


def distance(died, risk):
    """By hand: the mean distance between the same curve and the diagonal, at the patients' own risks."""
    return np.abs(lowess(died, risk, it=0, xvals=risk) - risk).mean()


def shown(values):
    return f"{np.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


# Each patient dies with the risk that the model states. The second model doubles it.
cohorts = []
for _ in range(COHORTS):
    risk = rng.beta(2, 30, PATIENTS)
    died = (rng.random(PATIENTS) < risk).astype(int)
    cohorts.append((died, risk, np.minimum(2 * risk, 1)))
area = np.array([[evaluated(died, risk).awlc for risk in risks] for died, *risks in cohorts])
right = np.array([[distance(died, risk) for risk in risks] for died, *risks in cohorts])
# For comparison: risks from 0 to 1.
wide = []
for _ in range(20):
    risk = rng.random(PATIENTS)
    wide.append(evaluated((rng.random(PATIENTS) < risk).astype(int), risk).awlc)

deaths = np.mean([died.mean() for died, *_ in cohorts])
print(f"{COHORTS} cohorts of {PATIENTS:,} patients, {deaths:.1%} die; median (range):")
print("                    AWLC                    at the patients' own risks")
for name, column in (("true risks", 0), ("doubled risks", 1)):
    print(f"  {name:18}{shown(area[:, column]):24}{shown(right[:, column])}")
wins, wins_right = ((values[:, 1] < values[:, 0]).sum() for values in (area, right))
print(f"  doubled is better {f'in {wins} of {COHORTS}':24}in {wins_right}")
print(f"  true risks from 0 to 1, half of the patients die: AWLC {shown(wide)}")

# The curve again, on pycaleva's grid, to see where the area lies.
grid = np.arange(0, 1, 0.005)
curves = [lowess(died, risk, it=0, xvals=grid) for died, risk, _ in cohorts]
np.testing.assert_allclose([np.trapezoid(np.abs(curve - grid), grid) for curve in curves], area[:, 0])
shares = []
for (_, risk, _), curve, whole in zip(cohorts, curves, area[:, 0], strict=True):
    beyond = grid >= risk.max()
    shares.append(np.trapezoid(np.abs(curve - grid)[beyond], grid[beyond]) / whole)
impossible = sum(curve.min() < 0 or curve.max() > 1 for curve in curves)
highest = [risk.max() for _, risk, _ in cohorts]
print(f"  highest true risk {shown(highest)}; share of the area beyond it {shown(shares)}")
print(f"  the curve of the true risks goes below 0 or above 1 in {impossible} cohorts")
# The same curve is drawn.
drawn = evaluated(*cohorts[0][:2]).calibration_plot().axes[0].lines
np.testing.assert_allclose(next(line for line in drawn if line.get_label() == "Nonparametric").get_ydata(), curves[0])

# A language model that states six risks. Observed deaths are set by hand, a few away from what is expected.
stated = np.array([0.05, 0.1, 0.2, 0.3, 0.5, 0.8])
counts = np.array([250, 250, 200, 150, 100, 50])
observed = np.array([19, 32, 46, 39, 45, 37])
risk = np.repeat(stated, counts)
died = np.concatenate([np.arange(count) < deaths for count, deaths in zip(counts, observed, strict=True)]).astype(int)
# By hand: patients with the same risk are one group.
expected = counts * stated
statistic = ((observed - expected) ** 2 / (expected * (1 - stated))).sum()
p_right, error_right = chi2.sf(statistic, len(stated)), np.abs(observed / counts - stated).mean()
seen = []
for _ in range(ORDERS):
    order = rng.permutation(PATIENTS)
    evaluator = evaluated(died[order], risk[order])
    test = evaluator.hosmerlemeshow(verbose=False)
    seen.append((test.pvalue, evaluator.ace, evaluator.brier, evaluator.z_test().pvalue))
p_value, error, *steady = np.array(seen).T
print(f"six stated risks, the same {PATIENTS:,} patients in {ORDERS} orders:")
print(
    f"  Hosmer-Lemeshow p: {p_value.min():.3f} to {p_value.max():.3f}, below 0.05 in {(p_value < 0.05).sum()}; "
    f"by stated risk {p_right:.3f}"
)
print(f"  adaptive calibration error: {error.min():.3f} to {error.max():.3f}, by stated risk {error_right:.3f}")

assert wins > COHORTS / 2, "true risks have the smaller area now"
assert wins_right == 0
assert area[:, 0].max() > 0.5 and max(wide) < 0.05, "the area no longer depends on the range of the risks"
assert np.median(shares) > 0.9 and impossible > COHORTS / 2, "the curve ends where the risks end now"
# Which order gives which value depends on how the processor sorts equal numbers, so only the spread is asserted.
assert p_value.min() < 0.05 < p_right < 0.2 < p_value.max(), "the order no longer changes the test"
assert error.max() > 1.3 * error.min(), "the order no longer changes the error"
# What needs no groups does not depend on the order.
assert all(np.ptp(values) < 1e-9 for values in steady)
print("CONFIRMED: doubled risks win by the area, and a test depends on the order of the patients")
PYTHON
