#!/usr/bin/env bash
# TJH, the COVID-19 data of Yan et al. (Nature Machine Intelligence 2020), mixes cells in urine with blood counts.
#
# Expected: "White blood cell count" and "Red blood cell count" hold blood counts, in 10^9/L and 10^12/L, as their
#   neighbours (haemoglobin, platelets, differential) do; they come from one blood count and stand in one row.
# What happens: 170 of 1,127 rows with a white cell count have no haemoglobin. Every one of them has a "PH value", from
#   5 to 7 (blood is near 7.4): these rows are urinalyses, and their cells are cells in urine, in another unit. White
#   cells go up to 1,726.6 and red cells up to 749.5; against the same patient's blood counts of the 48 hours around, the
#   median is 1.5 and 2.7 times as high. The columns have no marker, and a plausible range does not help: 155 of the 170
#   white and 83 of the 170 red counts could be counts in blood.
# Versions: file time_series_375_prerpocess_en.xlsx, SHA-256 a9b4f468...6cdf, commit 436ead7 of GitHub
#   HAIRLAB/Pre_Surv_COVID_19; read with pandas 2.3.3, openpyxl 3.1.5, numpy 2.3.5.
# Output seen:
#   rows with a white cell count: 1127, of them without haemoglobin: 170, of these with a pH from 5 to 7: 170
#   largest white cell count: with haemoglobin 88.1, without 1726.6
#   largest red cell count: with haemoglobin 34.1, without 749.5
#   against the patient's blood counts within 48 h (138 rows), median ratio: white cells 1.53, red cells 2.71
#   in a plausible range all the same: 155 white cell counts (up to 100), 83 red cell counts (1 to 10)
#   patients: 133 of 375; in the first 24 hours 69 rows of 69 patients
#   of 321 patients who stay longer than 24 hours, the last white cell count in them is one of urine in 65
# Why it matters: whoever takes the last or the mean value of these columns gives a model leucocyturia as leucocytosis
#   and haematuria as erythrocytosis for a third of the patients. White cells are among the features of most models
#   trained on this file.
# How well known: the repository's README does not say so, and a search of public issues found nothing; the literature
#   was not searched. That "PH value" holds blood gases and urine is easier to see.
# Run: with the published file as the argument, or without one, where GitHub can be reached.
set -euo pipefail
url=https://raw.githubusercontent.com/HAIRLAB/Pre_Surv_COVID_19/436ead7ed68cff6842a525b56e352ca3594763d9/data
name=time_series_375_prerpocess_en.xlsx
hash=a9b4f468ca2d9d99fa5d943512d932b722797aba6ee1025cc1811c5b749c6cdf
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ $# -gt 0 ]; then cp "$1" "$folder/$name"; else curl --fail --silent --show-error -o "$folder/$name" "$url/$name"; fi
echo "$hash  $folder/$name" | sha256sum --check --quiet
for python in python3.12 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check pandas==2.3.3 openpyxl==3.1.5 numpy==2.3.5
"$folder/venv/bin/python" - "$folder/$name" <<'PYTHON'
import sys

import numpy as np
import pandas as pd

WHITE, RED, HAEMOGLOBIN, PH = "White blood cell count", "Red blood cell count", "hemoglobin", "PH value"
table = pd.read_excel(sys.argv[1])
table["PATIENT_ID"] = table["PATIENT_ID"].ffill()
counted = table[table[WHITE].notna()]
urine, blood = counted[counted[HAEMOGLOBIN].isna()], counted[counted[HAEMOGLOBIN].notna()]
acid = urine[PH].between(5, 7).sum()
print(
    f"rows with a white cell count: {len(counted)}, of them without haemoglobin: {len(urine)}, "
    f"of these with a pH from 5 to 7: {acid}"
)
for name, column in (("white", WHITE), ("red", RED)):
    print(f"largest {name} cell count: with haemoglobin {blood[column].max():g}, without {urine[column].max():g}")

ratios = []
for _, row in urine.iterrows():
    near = blood[
        (blood["PATIENT_ID"] == row["PATIENT_ID"]) & ((blood["RE_DATE"] - row["RE_DATE"]).abs() < pd.Timedelta(hours=48))
    ]
    if len(near):
        ratios.append((row[WHITE] / near[WHITE].median(), row[RED] / near[RED].median()))
white, red = np.nanmedian(np.array(ratios), axis=0)
print(
    f"against the patient's blood counts within 48 h ({len(ratios)} rows), median ratio: "
    f"white cells {white:.2f}, red cells {red:.2f}"
)
kept = urine[WHITE].between(0.01, 100).sum(), urine[RED].between(1, 10).sum()
print(f"in a plausible range all the same: {kept[0]} white cell counts (up to 100), {kept[1]} red cell counts (1 to 10)")
hours = (urine["RE_DATE"] - urine["Admission time"]).dt.total_seconds() / 3600
early = urine[hours.between(0, 24)]
print(
    f"patients: {urine['PATIENT_ID'].nunique()} of {table['PATIENT_ID'].nunique()}; in the first 24 hours "
    f"{len(early)} rows of {early['PATIENT_ID'].nunique()} patients"
)
table["hours"] = (table["RE_DATE"] - table["Admission time"]).dt.total_seconds() / 3600
table["stay"] = (table["Discharge time"] - table["Admission time"]).dt.total_seconds() / 3600
day = table[table["hours"].between(0, 24) & (table["stay"] > 24) & table[WHITE].notna()]
last = day.sort_values("RE_DATE", kind="stable").groupby("PATIENT_ID").tail(1)
print(
    f"of {len(last)} patients who stay longer than 24 hours, the last white cell count in them is one of urine in "
    f"{last[HAEMOGLOBIN].isna().sum()}"
)
assert len(urine) == acid == 170, "the rows without haemoglobin are no longer those of urine"
assert blood[PH].between(5, 7).mean() < 0.1
assert white > 1.2 and red > 2
PYTHON
