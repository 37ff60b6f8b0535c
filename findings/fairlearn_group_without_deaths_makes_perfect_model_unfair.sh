#!/usr/bin/env bash
# fairlearn gives a group without deaths a true positive rate of 0, so a model without any error is "maximally unfair".
#
# Expected: the share of deaths that were predicted is undefined in a group where nobody died: NaN, an error, or at
#   least a warning as from scikit-learn's recall_score. And a model that is always right has an equalized odds
#   difference of 0, by which, the docstring says, all groups have the same rates.
# What happens: true_positive_rate returns 0.0 there, silently. MetricFrame and the differences built on it take that
#   for a measured rate:
#   - predictions equal to the outcomes have an equalized_odds_difference of 1 and an equalized_odds_ratio of 0, each
#     the worst there is;
#   - false_negative_rate of the same group is 0.0 too (the best), though the two rates should add up to 1;
#   - one death in the group, predicted right, and the difference is 0.
#   The same happens to false_positive_rate where everybody died.
# Versions: fairlearn 0.15.0, scikit-learn 1.8.0, numpy 2.3.5, scipy 1.16.3, pandas 2.3.3.
# Output seen:
#   predictions equal to the outcomes; nobody died on the obstetric ward:
#                        true positive rate  false negative rate  false positive rate
#   medical                             1.0                  0.0                  0.0
#   obstetric                           0.0                  0.0                  0.0
#   surgical                            1.0                  0.0                  0.0
#   equalized_odds_difference 1.0, equalized_odds_ratio 0.0, equal_opportunity_difference 1.0; warnings: 0
#   one death there, predicted right:
#   equalized_odds_difference 0.0, equalized_odds_ratio 1.0, equal_opportunity_difference 0.0
#   scikit-learn's recall_score on the ward alone: 1 warning (UndefinedMetricWarning)
#   400 cohorts, 5 % die, a group of 20, no errors: difference 1 in 32%, 0 in the others
# Why it matters: deaths are rare, and groups of a cohort by ethnicity, language or ward are small: with 5 % deaths more
#   than a third of groups of 20 patients have none. Whoever ranks models by this number, or resamples patients for its
#   interval, measures how often a group happened to have no event. Ask how many events each group has first.
# How well known: not in the docstrings or the user guide. Issue 543 of fairlearn is about the constraints used in
#   training, which raise an error for such a group; none was found about the metrics.
# Source: fairlearn, fairlearn/metrics/_base_metrics.py (rates taken from scikit-learn's confusion_matrix with
#   normalize="true", in which 0 / 0 becomes 0) and fairlearn/metrics/_fairness_metrics.py, docstring of
#   equalized_odds_difference.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  fairlearn==0.15.0 scikit-learn==1.8.0 numpy==2.3.5 scipy==1.16.3 pandas==2.3.3
export OMP_NUM_THREADS=1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import fairlearn
import numpy as np
import sklearn
from fairlearn.metrics import (
    MetricFrame,
    equal_opportunity_difference,
    equalized_odds_difference,
    equalized_odds_ratio,
    false_negative_rate,
    false_positive_rate,
    true_positive_rate,
)
from sklearn.metrics import recall_score

print(f"fairlearn {fairlearn.__version__}, scikit-learn {sklearn.__version__}")
ward = np.repeat(["medical", "surgical", "obstetric"], [500, 400, 100])
died = np.zeros(1000, dtype=int)
died[:50] = 1  # 50 of 500
died[500:530] = 1  # 30 of 400; none of the 100
predicted = died.copy()  # without an error

rates = {
    "true positive rate": true_positive_rate,
    "false negative rate": false_negative_rate,
    "false positive rate": false_positive_rate,
}


def unfairness(outcomes, predictions):
    return {
        "equalized_odds_difference": float(equalized_odds_difference(outcomes, predictions, sensitive_features=ward)),
        "equalized_odds_ratio": float(equalized_odds_ratio(outcomes, predictions, sensitive_features=ward)),
        "equal_opportunity_difference": float(
            equal_opportunity_difference(outcomes, predictions, sensitive_features=ward)
        ),
    }


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    by_ward = MetricFrame(metrics=rates, y_true=died, y_pred=predicted, sensitive_features=ward).by_group
    found = unfairness(died, predicted)
about_rates = [str(w.message) for w in caught if not issubclass(w.category, (FutureWarning, DeprecationWarning))]
print("predictions equal to the outcomes; nobody died on the obstetric ward:")
print(by_ward.to_string())
print(", ".join(f"{name} {value:.1f}" for name, value in found.items()), f"; warnings: {len(about_rates)}", sep="")

died_once, predicted_once = died.copy(), predicted.copy()
died_once[-1] = predicted_once[-1] = 1
after = unfairness(died_once, predicted_once)
print("one death there, predicted right:")
print(", ".join(f"{name} {value:.1f}" for name, value in after.items()))

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    recall_score(died[ward == "obstetric"], predicted[ward == "obstetric"])
print(f"scikit-learn's recall_score on the ward alone: {len(caught)} warning ({caught[0].category.__name__})")

rng = np.random.default_rng(0)
two = np.repeat(["most", "few"], [480, 20])
differences = []
for _ in range(400):
    outcomes = (rng.random(500) < 0.05).astype(int)
    if outcomes[:480].any():
        differences.append(equalized_odds_difference(outcomes, outcomes, sensitive_features=two))
share = float(np.mean(np.equal(differences, 1)))
print(f"400 cohorts, 5 % die, a group of 20, no errors: difference 1 in {share:.0%}, 0 in the others")

everybody = np.ones(20, dtype=int)
assert false_positive_rate(everybody, everybody) == 0 and false_positive_rate(everybody, 0 * everybody) == 0
obstetric = by_ward.loc["obstetric"]
assert obstetric["true positive rate"] == 0 and obstetric["false negative rate"] == 0, "the rate is no longer 0"
assert found["equalized_odds_difference"] == 1 and found["equalized_odds_ratio"] == 0
assert found["equal_opportunity_difference"] == 1
assert not about_rates, "fairlearn warns now"
assert after["equalized_odds_difference"] == 0 and after["equalized_odds_ratio"] == 1
assert any("UndefinedMetric" in w.category.__name__ for w in caught)
assert 0.2 < share < 0.5 and set(differences) == {0.0, 1.0}
print("CONFIRMED: a group without deaths makes a model without errors maximally unfair")
PYTHON
