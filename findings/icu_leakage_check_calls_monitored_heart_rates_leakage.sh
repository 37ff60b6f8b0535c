#!/usr/bin/env bash
# icu-leakage-check calls a heart rate unknown until a nurse has validated it in MIMIC-IV, and known at once in eICU.
#
# Expected: a heart rate that the monitor showed half an hour before the prediction is known at the prediction.
#   MIMIC-IV's documentation ("Core concepts") says that for continuous vital signs charttime is usually exactly the
#   time of measurement, and storetime the time at which the value was validated, often hours later.
# What happens: for chartevents the package takes storetime as the time at which any value became available:
#   - `event_timing` fails with severity HIGH ("only available after it"), just as for a potassium whose result really
#     came after the prediction; the suggested remedy is to filter by storage time;
#   - its own build_window_features does so: the last heart rate is one of hours ago, and the patient looks stable;
#   - the same heart rates in the form of eICU's vitalPeriodic, which has no such column, pass and are used.
# Versions: icu-leakage-check 0.1.0, pandas 2.3.3, numpy 2.3.5, scikit-learn 1.8.0, scipy 1.16.3.
# Output seen:
#   heart rates, as MIMIC-IV's chartevents has them:
#     fail HIGH: 3 events charted before the prediction time but only available after it (42.9% of events, 1
#     prediction units), feeding 5 features.
#     last heart rate: on the monitor 141, from build_window_features as it comes 88
#   the same heart rates, as eICU's vitalPeriodic has them:
#     pass: No events charted before the prediction time but only available after it.
#     last heart rate: on the monitor 141, from build_window_features as it comes 141
#   for comparison a real one: potassium drawn at 19:00, result at 20:05 (labevents):
#     fail HIGH: 1 events charted before the prediction time but only available after it (100.0% of events, 1
#     prediction units), feeding 5 features.
# Why it matters: several hours are validated in one go, so it is the hours just before a prediction that are lost. An
#   audit reports leakage for a sound MIMIC-IV pipeline, and features built by this package see older vital signs in
#   MIMIC-IV than in eICU, which looks like a loss by transfer. storetime remains a safe upper limit, and for what is
#   typed in by hand it is right: set `available_time` to charttime for what a monitor sends, and only for that.
# How well known: the README says that storetime is taken as the time of availability, not that it differs by item. That
#   a heart rate is available at its charttime, and storetime an upper limit, is said by a maintainer of MIMIC in issue
#   375 of mimic-code (on MIMIC-III). No issue about it was found for icu-leakage-check.
# Source: icu_leakage_check, schemas/mimic_iv.py (chartevents: `available_time="storetime"`), schemas/eicu.py
#   (vitalPeriodic: only `event_time`), checks/temporal.py and features.py; MIMIC-IV documentation, "Core concepts",
#   section "charttime vs storetime", and table chartevents; MIT-LCP/mimic-code, issue 375.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  icu-leakage-check==0.1.0 pandas==2.3.3 numpy==2.3.5 scikit-learn==1.8.0 scipy==1.16.3
export OMP_NUM_THREADS=1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import textwrap
from importlib.metadata import version

import pandas as pd
from icu_leakage_check import audit, build_window_features, events_from_table

print(", ".join(f"{name} {version(name)}" for name in ("icu-leakage-check", "pandas", "numpy", "scikit-learn")))
DAY = "2150-03-01"
PREDICTION = pd.Timestamp(f"{DAY} 19:30")
ADMISSION = pd.Timestamp(f"{DAY} 12:00")
HEART_RATE, POTASSIUM = 220045, 50971

# Made up: what the monitor showed each hour, and when a nurse went through the list.
monitor = [
    ("13:00", 82, "16:20"),
    ("14:00", 84, "16:20"),
    ("15:00", 85, "16:20"),
    ("16:00", 88, "16:20"),
    ("17:00", 110, "19:41"),
    ("18:00", 128, "19:41"),
    ("19:00", 141, "19:41"),
]


def at(hour):
    return pd.Timestamp(f"{DAY} {hour}")


def lateness(found):
    """Return the findings of event_timing about values that were not available yet."""
    return [f for f in found.findings if f.check_id == "event_timing" and f.leakage_type == "AVAILABILITY_LAG"]


def say(name, found):
    (finding,) = lateness(found)
    severity = "" if finding.status == "pass" else f" {finding.severity.name}"
    print(f"{name}:")
    print(textwrap.indent(textwrap.fill(f"{finding.status}{severity}: {finding.message}", 108), "  "))
    return finding


def check(table, rows, dataset, predicted, key):
    """Build features from all values with a clinical time before the prediction, and audit them."""
    events = events_from_table(rows, table, dataset, entity_column=key)
    index = pd.DataFrame({"entity_id": [1], "index_time": [predicted]})
    features, used = build_window_features(events, index, time_basis="event", return_provenance=True)
    cases = features.reset_index().rename(columns={"entity_id": key}).assign(predicted=predicted)
    found = audit(cases, dataset=dataset, stay_id=key, index_time="predicted", events=used, checks=["event_timing"])
    by_default = build_window_features(events, index)
    return found, features, by_default


charted = pd.DataFrame(
    [
        {"stay_id": 1, "itemid": HEART_RATE, "charttime": at(t), "storetime": at(checked), "valuenum": value}
        for t, value, checked in monitor
    ]
)
found, shown, default = check("chartevents", charted, "mimic-iv", PREDICTION, "stay_id")
mimic = say("heart rates, as MIMIC-IV's chartevents has them", found)
last, left = (float(table[f"{HEART_RATE}__last"].iloc[0]) for table in (shown, default))
print(f"  last heart rate: on the monitor {last:.0f}, from build_window_features as it comes {left:.0f}")

minutes = [int((at(t) - ADMISSION).total_seconds() // 60) for t, _, _ in monitor]
periodic = pd.DataFrame(
    {"patientunitstayid": 1, "observationoffset": minutes, "heartrate": [value for _, value, _ in monitor]}
)
predicted = (PREDICTION - ADMISSION).total_seconds() / 60
found, shown, default = check("vitalPeriodic", periodic, "eicu", predicted, "patientunitstayid")
eicu = say("the same heart rates, as eICU's vitalPeriodic has them", found)
eicu_last, eicu_left = (float(table["heartrate__last"].iloc[0]) for table in (shown, default))
print(f"  last heart rate: on the monitor {eicu_last:.0f}, from build_window_features as it comes {eicu_left:.0f}")

drawn = pd.DataFrame(
    [{"stay_id": 1, "itemid": POTASSIUM, "charttime": at("19:00"), "storetime": at("20:05"), "valuenum": 5.9}]
)
found, _, _ = check("labevents", drawn, "mimic-iv", PREDICTION, "stay_id")
lab = say("for comparison a real one: potassium drawn at 19:00, result at 20:05 (labevents)", found)

assert (mimic.status, mimic.severity.name) == ("fail", "HIGH"), "heart rates on the monitor are no leakage any more"
assert mimic.evidence["events_flagged"] == 3
assert (last, left) == (141, 88), "its feature builder uses the heart rates on the monitor now"
assert eicu.status == "pass" and (eicu_last, eicu_left) == (141, 141), "eICU's monitor is no longer free of delay"
assert (lab.status, lab.severity.name) == ("fail", "HIGH")
print("CONFIRMED: a vital sign counts as unknown until a nurse has validated it in MIMIC-IV, and as known in eICU")
PYTHON
