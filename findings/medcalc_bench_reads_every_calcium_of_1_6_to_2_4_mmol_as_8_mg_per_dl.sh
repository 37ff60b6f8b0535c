#!/usr/bin/env bash
# medcalc-bench, which computes right answers for language models, reads a calcium of 1.6 to 2.4 mmol/L as 8 mg/dL.
#
# Expected: the calculators take a value with its unit, `(2.2, "mmol/L")` as well as mg/dL, and convert it themselves:
#   calcium by 4.008, glucose by 18.016, cholesterol by 38.67, insulin in pmol/L divided by 6.
# What happens, without a warning: a conversion goes over mol and grams, and each step is rounded to 3 decimals. 0.0022
#   mol become 0.002 mol, so values in mmol/L are rounded to whole millimoles before they are used. Of all calciums from
#   1.6 to 3.4 two are left, 8.0 and 12.0 mg/dL. Sodium stays as it is, creatinine in µmol/L gets steps of 0.1.
#   Insulin in pmol/L is multiplied by 6, which makes HOMA-IR 36 times too high. The text beside the answer
#   ("Explanation", from which models learn) shows these steps as right.
# Versions: medcalc-bench 1.7.0 (the newest; it needs nothing else).
# Output seen:
#   corrected calcium at an albumin of 40 g/L, calcium in mmol/L:
#     calcium          1.7   2.1   2.2   2.3   2.4   2.6   2.7
#     medcalc-bench    8.0   8.0   8.0   8.0   8.0  12.0  12.0
#     by hand          6.8   8.4   8.8   9.2   9.6  10.4  10.8
#     the same in mg/dL, to medcalc-bench: as by hand
#   calculated LDL, all in mmol/L:
#     cholesterol, HDL, triglycerides   medcalc-bench   by hand
#       5.2, 1.3, 1.4                           137.4     126.7
#       4.4, 1.0, 1.6                            81.5     103.9
#       6.4, 1.6, 2.6                           103.0     140.8
#   HOMA-IR of 60 pmol/L insulin (10 µIU/mL) and 90 mg/dL glucose: 80.0, of the same in µIU/mL 2.222
#   right answers within 5 % of the reference, as MedCalc-Bench grades: calcium 0 of 51, LDL 4,282 of 15,000
# Why it matters: who checks answers or pays rewards with this package marks the right answer wrong, and a model learns
#   to round. All 916 questions of the medicine part of CAMEL-AI's Loong, made to train with such rewards, name
#   medcalc-bench==1.7. Run here outside this script, they gave the stored answers: all 3 calciums in mmol/L are off
#   (8.72 for 10.46, of 2.43 mmol/L with an albumin of 31 g/L), and 2 of 3 LDL. Convert to mg/dL and µIU/mL before.
# How well known: that labels of MedCalc-Bench are often wrong is known (Ye et al. 2025, arXiv 2512.19691: at least
#   27 % of the test set). No issue about rounding or insulin was found. The calculators came from the repository of
#   MedCalc-Bench, which rounds to 5 decimals since September 2025, under "Pushed updated calculators"; it and
#   MedCalc-Bench Verified still multiply insulin by 6. Issue 7 there (2025, closed) is about another slip that the
#   package has too: a cycle of less than 28 days makes the due date later. That is wrong in 25 of 30 dates of Loong.
#   For men with a creatinine up to 0.9, ckd_epi_2021_explanation takes 0.7 where ckd_epi_2021 beside it takes 0.9.
# Source: medcalc-bench, medcalc/utils/rounding.py (round_number), medcalc/utils/unit_converter_new.py
#   (molg_to_molg_explanation), medcalc/homa_ir.py; camel-ai/loong, data/medicine/seed_dataset.json.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3.13 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check medcalc-bench==1.7.0
export PYTHONIOENCODING=utf-8
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import itertools
from importlib.metadata import version

from medcalc.calcium_correction import calculate_corrected_calcium_explanation
from medcalc.homa_ir import compute_homa_ir_explanation
from medcalc.ldl_calculated import compute_ldl_explanation

CALCIUM, CHOLESTEROL, TRIGLYCERIDES = 4.008, 38.6654, 86.1338  # mg/dL of 1 mmol/L, by the molar masses of the package


def corrected(calcium, unit="mmol/L"):
    return calculate_corrected_calcium_explanation({"calcium": (calcium, unit), "albumin": (40, "g/L")})["Answer"]


def ldl(total, hdl, triglycerides):
    values = {"total_cholestrol": total, "hdl_cholestrol": hdl, "triglycerides": triglycerides}
    return compute_ldl_explanation({name: (value, "mmol/L") for name, value in values.items()})["Answer"]


def ldl_by_hand(total, hdl, triglycerides):
    return (total - hdl) * CHOLESTEROL - triglycerides * TRIGLYCERIDES / 5


def homa(insulin, unit):
    return compute_homa_ir_explanation({"insulin": (insulin, unit), "glucose": (90, "mg/dL")})["Answer"]


def passes(answer, reference):
    return 0.95 * reference <= answer <= 1.05 * reference


print(f"medcalc-bench {version('medcalc-bench')}")
print("corrected calcium at an albumin of 40 g/L, calcium in mmol/L:")
levels = [1.7, 2.1, 2.2, 2.3, 2.4, 2.6, 2.7]
found = [corrected(level) for level in levels]
hand = [CALCIUM * level for level in levels]  # an albumin of 40 g/L needs no correction
for name, row in {"calcium": levels, "medcalc-bench": found, "by hand": hand}.items():
    print(f"  {name:14}" + "".join(f"{value:6.1f}" for value in row))
assert all(abs(corrected(right, "mg/dL") - right) < 0.001 for right in hand)
print("  the same in mg/dL, to medcalc-bench: as by hand")

print("calculated LDL, all in mmol/L:")
print("  cholesterol, HDL, triglycerides   medcalc-bench   by hand")
panels = [(5.2, 1.3, 1.4), (4.4, 1.0, 1.6), (6.4, 1.6, 2.6)]
for panel in panels:
    print(f"    {', '.join(map(str, panel)):32}{ldl(*panel):13.1f}{ldl_by_hand(*panel):10.1f}")

pmol, units = homa(60, "pmol/L"), homa(10, "µIU/mL")
print(f"HOMA-IR of 60 pmol/L insulin (10 µIU/mL) and 90 mg/dL glucose: {pmol}, of the same in µIU/mL {units}")

calciums = [level / 100 for level in range(210, 261)]
grid = [[x / 10 for x in range(*ends)] for ends in ((35, 75), (8, 23), (6, 31))]
lipids = list(itertools.product(*grid))
right_calcium = sum(passes(CALCIUM * level, corrected(level)) for level in calciums)
right_ldl = sum(passes(ldl_by_hand(*panel), ldl(*panel)) for panel in lipids)
print("right answers within 5 % of the reference, as MedCalc-Bench grades: "
      f"calcium {right_calcium} of {len(calciums)}, LDL {right_ldl:,} of {len(lipids):,}")

assert {corrected(level / 100) for level in range(160, 241)} == {8.0}, "calciums in mmol/L are told apart now"
assert {corrected(level / 100) for level in range(160, 341)} == {8.0, 12.0}
assert right_calcium == 0 and right_ldl < len(lipids) / 3
assert abs(units - 10 * 90 / 405) < 0.001 and abs(pmol / units - 36) < 0.1, "insulin in pmol/L is converted otherwise"
print("CONFIRMED: values in mmol/L are rounded to whole millimoles, and insulin in pmol/L is multiplied by 6")
PYTHON
