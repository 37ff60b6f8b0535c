#!/usr/bin/env bash
# comorbidipy gives AIDS 2 points in the updated Charlson score, its default, where the published weights give 4.
#
# Expected: comorbidity() without more takes weighting="quan", the updated weights of Quan et al. (Am J Epidemiol 2011;
#   173: 676-682), so named in the source. There AIDS has 4 points, as many as moderate or severe liver disease, and a
#   patient with every disease has 24.
# What happens, without a warning: AIDS has 2 points, as many as heart failure. The other 16 weights are the published
#   ones. A patient with every disease has 22, so no patient reaches the published maximum. Only this weighting is
#   concerned: by weighting="charlson" (1987) AIDS has 6 points, which is right.
# Versions: comorbidipy 0.8.0 (the newest), polars 1.44.2. It asks for Python 3.13; the script takes that if it is there,
#   else 3.12, where the same code gives the same (both seen).
# Output seen:
#   one patient a disease, by ICD-10 code; points:  comorbidipy   published
#     heart attack I21                                        0           0
#     heart failure I50                                       2           2
#     peripheral vascular disease I70                         0           0
#     stroke I63                                              0           0
#     dementia F00                                            2           2
#     chronic lung disease J44                                1           1
#     rheumatic disease M05                                   1           1
#     peptic ulcer K25                                        0           0
#     mild liver disease K73                                  2           2
#     diabetes E119                                           0           0
#     diabetes with complications E112                        1           1
#     hemiplegia G81                                          2           2
#     renal disease N18                                       1           1
#     cancer C34                                              2           2
#     severe liver disease K721                               4           4
#     metastatic cancer C78                                   6           6
#     AIDS or HIV B20                                         2           4
#     all of them                                            22          24
#     by ICD-9 code, AIDS or HIV 042                          2           4
#     with the weights of 1987, AIDS or HIV B20               6           6
# Why it matters: the score is a feature, a matching variable and a criterion for who is kept. A patient with AIDS falls
#   below a cut of 3 or 4 points, seems less ill than one with severe liver disease, and scores 2 less than in R.
#   Correct it by adding 2 points where the column `aids` is 1.
# How well known: the documentation lists the weights of 1987 only. No issue of comorbidipy about it was found (issue 33
#   asks for tests of all weights, issue 40 is about the age points); the package's tests for these weights ask whether
#   a score is there. R's comorbidity, which comorbidipy follows, had the same 2 and made it 4 in January 2022 (pull
#   request 44 there); comorbidipy began in December 2021. Version 0.5.0, which pip takes for Python 3.12 and older, has
#   the same 2 (read, not run). pycomorb, another package, has 4.
# Source: comorbidipy, comorbidipy/codemaps/weights.py (`# Quan 2011`).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.13 python3.14 python3.12 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check polars==1.44.2
# What comorbidipy needs for its command line is left out.
"$folder/venv/bin/pip" install -qq --disable-pip-version-check --no-deps --ignore-requires-python comorbidipy==0.8.0
export POLARS_MAX_THREADS=1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import polars as pl
from comorbidipy import comorbidity

# Quan et al. 2011, the updated weights
PUBLISHED = {
    "heart attack I21": 0, "heart failure I50": 2, "peripheral vascular disease I70": 0, "stroke I63": 0,
    "dementia F00": 2, "chronic lung disease J44": 1, "rheumatic disease M05": 1, "peptic ulcer K25": 0,
    "mild liver disease K73": 2, "diabetes E119": 0, "diabetes with complications E112": 1, "hemiplegia G81": 2,
    "renal disease N18": 1, "cancer C34": 2, "severe liver disease K721": 4, "metastatic cancer C78": 6,
    "AIDS or HIV B20": 4,
}


def points(patients, **chosen):
    """Each patient's points; a patient is a name whose diseases end in their codes."""
    rows = [{"id": patient, "code": disease.split()[-1]} for patient in patients for disease in patients[patient]]
    table = comorbidity(pl.DataFrame(rows), **chosen)
    return {patient: round(score) for patient, score in table.select("id", "comorbidity_score").iter_rows()}


def show(label, found, published):
    print(f"  {label:47}{found:10}{published:12}")


print(", ".join(f"{name} {version(name)}" for name in ("comorbidipy", "polars")))
right = dict(PUBLISHED)
# The milder form of a disease does not count beside the severe one (liver, diabetes, cancer).
right["all of them"] = sum(PUBLISHED.values()) - PUBLISHED["mild liver disease K73"] - PUBLISHED["cancer C34"]
found = points({**{disease: [disease] for disease in PUBLISHED}, "all of them": list(PUBLISHED)})
print("one patient a disease, by ICD-10 code; points:  comorbidipy   published")
for label, published in right.items():
    show(label, found[label], published)
nine = points({"AIDS or HIV 042": ["042"]}, icd="icd9")["AIDS or HIV 042"]
original = points({"AIDS or HIV B20": ["B20"]}, weighting="charlson")["AIDS or HIV B20"]
show("by ICD-9 code, AIDS or HIV 042", nine, 4)
show("with the weights of 1987, AIDS or HIV B20", original, 6)

assert right["all of them"] == 24, "24 is the highest score of the paper"
differ = {label: found[label] for label in right if found[label] != right[label]}
assert differ == {"AIDS or HIV B20": 2, "all of them": 22}, f"other weights differ now: {differ}"
assert nine == 2 and original == 6
print("CONFIRMED: AIDS has 2 points instead of 4, by default")
PYTHON
