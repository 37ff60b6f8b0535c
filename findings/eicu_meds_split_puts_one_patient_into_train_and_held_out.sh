#!/usr/bin/env bash
# In eICU-MEDS a subject is a hospital stay, and its own split puts one patient into train and into held_out.
#
# Expected: a split by subject is a split by patient, as in MIMIC-IV-MEDS, so that no patient is in two parts; or the
#   data say which subjects are one patient.
# What happens: `subject_id` is eICU's patienthealthsystemstayid. eICU knows the patient (uniquepid in its table
#   patient), but no column, code or metadata file of the MEDS data names it. metadata/subject_splits.parquet and the
#   folders train, tuning and held_out are drawn by subject: a patient with two hospital stays falls into two parts in
#   34 of 100 cases (1 - 0.8^2 - 0.1^2 - 0.1^2). Below are 200 made-up patients, of whom 50 come back once.
# Versions: eICU-MEDS 0.1.0, MEDS-extract 0.7.1, MEDS-transforms 0.7.0, meds 0.4.1, hydra-core 1.3.2, polars 1.44.2,
#   pyarrow 26.0.1, numpy 2.4.6.
# Output seen:
#   patients 200, hospital stays 250; MEDS subjects 250
#   identifiers: subject_id, hadm_id, icustay_id, ward_id, admission_dx_id, medication_id, lab_type_id, vital_id
#   cells that name a patient: 0 in data, 0 in metadata
#     train      200 subjects,  167 patients
#     tuning      25 subjects,   25 patients
#     held_out    25 subjects,   25 patients
#   patients with two hospital stays: 50, of whom in two parts of subject_splits.parquet: 17
#   held_out: 8 of its 25 patients are also in train
# Why it matters: held_out is the part on which models for MEDS are compared, and it holds patients whose other stay the
#   model was trained on; how many depends on how often patients return. To draw or count by `subject_id` does not help,
#   and intervals that resample subjects can come out too narrow. Whoever has the raw data can draw a split by patient:
#   eICU's table patient leads from patienthealthsystemstayid to uniquepid.
# How well known: the unit is documented, the split is not. The README says under "A note on time in eICU" that a
#   subject is a hospital stay, because the order of a patient's stays is not known; that of meds names eICU as such a
#   case. Neither says that the split then is not by patient, and no issue about it was found.
# Source: eICU_MEDS, configs/event_configs.yaml (`_defaults`: `subject_id: $patienthealthsystemstayid`), its
#   configs/ETL.yaml (split_and_shard_subjects) and README; MEDS_extract, split_and_shard_subjects (0.8, 0.1 and 0.1 of
#   the subjects); meds, README, section "Philosophy"; eICU documentation, table patient, column uniquepid.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.12 python3; do
  if "$python" -c 'import sys; sys.exit(not (3, 11, 4) <= sys.version_info[:3] < (3, 14))' 2>/dev/null; then break; fi
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  eICU-MEDS==0.1.0 MEDS-extract==0.7.1 MEDS-transforms==0.7.0 dftly==0.7.0 meds==0.4.1 flexible-schema==0.1.1 \
  hydra-core==1.3.2 omegaconf==2.3.1 polars==1.44.2 pyarrow==26.0.1 numpy==2.4.6
export OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import csv
import gzip
import random
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import polars as pl

names = ("eICU-MEDS", "MEDS-extract", "MEDS-transforms", "meds", "polars", "pyarrow")
print(", ".join(f"{name} {version(name)}" for name in names))
rng = random.Random(0)
raw = Path("eicu/raw_input")
raw.mkdir(parents=True)


def write(table, rows):
    with gzip.open(raw / f"{table}.csv.gz", "wt", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# 200 made-up patients; every fourth comes back to hospital once. One stay in intensive care each time.
patients = [f"made-up-{k:03}" for k in range(200)]
stays = [(patient, visit) for k, patient in enumerate(patients) for visit in range(2 if k % 4 == 0 else 1)]
rng.shuffle(stays)
rows = []
for k, (patient, visit) in enumerate(stays):
    hours = rng.randint(24, 200)
    rows.append(
        {
            "patientunitstayid": 700000 + k,
            "patienthealthsystemstayid": 500000 + k,
            "gender": "Female" if int(patient[-3:]) % 2 else "Male",
            "age": "> 89" if int(patient[-3:]) > 190 else 40 + int(patient[-3:]) % 45,
            "ethnicity": "Other/Unknown",
            "hospitalid": 1,
            "wardid": 10,
            "apacheadmissiondx": "Sepsis, pulmonary",
            "admissionheight": 170.0,
            "hospitaladmittime24": "08:00:00",
            "hospitaladmitoffset": -60,
            "hospitaladmitsource": "Emergency Department",
            "hospitaldischargeyear": 2014 + visit,
            "hospitaldischargetime24": "12:00:00",
            "hospitaldischargeoffset": 60 * (hours + 24),
            "hospitaldischargelocation": "Home",
            "hospitaldischargestatus": "Alive",
            "unittype": "MICU",
            "unitadmittime24": "09:00:00",
            "unitadmitsource": "Emergency Department",
            "unitvisitnumber": 1,
            "unitstaytype": "admit",
            "admissionweight": 70.5,
            "dischargeweight": 69.5,
            "unitdischargetime24": "11:00:00",
            "unitdischargeoffset": 60 * hours,
            "unitdischargelocation": "Floor",
            "unitdischargestatus": "Alive",
            "uniquepid": patient,
        }
    )
write("patient", rows)
write("hospital", [{"hospitalid": 1, "numbedscategory": "100 - 249", "teachingstatus": "f", "region": "South"}])

# The other tables that the converter reads: one row for each stay.
one_row = {
    "admissionDx": {"admissiondxid": 1, "admitdxenteredoffset": 10, "admitdxpath": "admission diagnosis|Sepsis"},
    "allergy": {"allergyid": 1, "allergyenteredoffset": 5, "allergytype": "Drug", "allergyname": "penicillin"},
    "carePlanGeneral": {"cplgeneralid": 1, "cplitemoffset": 5, "cplgroup": "Activity", "cplitemvalue": "Bedrest"},
    "carePlanEOL": {"cpleolid": 1, "cpleoldiscussionoffset": 5},
    "carePlanGoal": {
        "cplgoalid": 1,
        "cplgoaloffset": 5,
        "cplgoalcategory": "Respiratory",
        "cplgoalvalue": "Oxygenation",
        "cplgoalstatus": "Active",
    },
    "carePlanInfectiousDisease": {
        "cplinfectid": 1,
        "cplinfectdiseaseoffset": 5,
        "infectdiseasesite": "Lung",
        "infectdiseaseassessment": "Probable infection",
        "treatment": "Empiric",
        "responsetotherapy": "Improving",
    },
    "diagnosis": {
        "diagnosisid": 1,
        "diagnosisoffset": 10,
        "diagnosisstring": "infectious diseases|sepsis",
        "icd9code": "038.9, A41.9",
        "diagnosispriority": "Primary",
    },
    "infusionDrug": {
        "infusiondrugid": 1,
        "infusionoffset": 5,
        "drugname": "Propofol (ml/hr)",
        "drugrate": "OFF",
        "infusionrate": "OFF",
        "drugamount": 1000.0,
        "volumeoffluid": 100.0,
        "patientweight": "UNK",
    },
    "lab": {
        "labid": 1,
        "labresultoffset": 30,
        "labtypeid": 1,
        "labname": "lactate",
        "labresult": 2.1,
        "labresulttext": "2.1",
        "labmeasurenamesystem": "mmol/L",
        "labresultrevisedoffset": 60,
    },
    "medication": {
        "medicationid": 1,
        "drugstartoffset": 5,
        "drugstopoffset": 500,
        "drugname": "ASPIRIN",
        "dosage": "100 MG",
    },
    "treatment": {"treatmentid": 1, "treatmentoffset": 10, "treatmentstring": "pulmonary|oxygen therapy"},
    "vitalAperiodic": {
        "vitalaperiodicid": 1,
        "observationoffset": 5,
        **dict.fromkeys(("noninvasivesystolic", "noninvasivediastolic", "noninvasivemean"), 90.0),
        **dict.fromkeys(("paop", "cardiacoutput", "cardiacinput", "svr", "svri", "pvr", "pvri"), 5.0),
    },
    "vitalPeriodic": {
        "vitalperiodicid": 1,
        "observationoffset": 5,
        **dict.fromkeys(("temperature", "sao2", "heartrate", "respiration", "cvp", "etco2"), 37.0),
        **dict.fromkeys(("systemicsystolic", "systemicdiastolic", "systemicmean"), 80.0),
        **dict.fromkeys(("pasystolic", "padiastolic", "pamean", "st1", "st2", "st3", "icp"), 10.0),
    },
}
for table, row in one_row.items():
    write(table, [{"patientunitstayid": stay["patientunitstayid"], **row} for stay in rows])

done = subprocess.run(
    [Path(sys.executable).with_name("MEDS_extract-eICU"), "root_output_dir=eicu", "do_download=False", "do_demo=True"],
    capture_output=True,
    text=True,
)
assert done.returncode == 0, done.stderr[-2000:]



def cells_that_name(table):
    """Count the cells with a patient's identifier."""
    return sum("made-up-" in str(cell) for column in table.columns for cell in table[column].to_list())


meds = Path("eicu/MEDS_output")
data = pl.concat([pl.read_parquet(shard) for shard in sorted(meds.glob("data/**/*.parquet"))], how="diagonal_relaxed")
split = pl.read_parquet(meds / "metadata/subject_splits.parquet")
shards = {path.relative_to(meds / "data").parts[0] for path in meds.glob("data/**/*.parquet")}
named = cells_that_name(data)
in_metadata = sum(cells_that_name(pl.read_parquet(file)) for file in meds.glob("metadata/*.parquet"))
in_metadata += (meds / "metadata/dataset.json").read_text().count("made-up-")
print(f"patients {len(patients)}, hospital stays {len(stays)}; MEDS subjects {data['subject_id'].n_unique()}")
print(f"identifiers: {', '.join(column for column in data.columns if column.endswith('_id'))}")
print(f"cells that name a patient: {named} in data, {in_metadata} in metadata")

# Only the raw table says whose a stay is.
whose = pl.DataFrame(
    {
        "subject_id": [row["patienthealthsystemstayid"] for row in rows],
        "patient": [row["uniquepid"] for row in rows],
    }
)
parts = split.join(whose, on="subject_id")
counts = parts.group_by("split").agg(pl.len().alias("subjects"), pl.col("patient").n_unique().alias("patients"))
for name, subjects, persons in counts.sort("subjects", "split", descending=True).iter_rows():
    print(f"  {name:9} {subjects:4} subjects, {persons:4} patients")
by_patient = parts.group_by("patient").agg(pl.len().alias("stays"), pl.col("split").n_unique().alias("parts"))
twice = by_patient.filter(pl.col("stays") == 2)
apart = int((twice["parts"] == 2).sum())
train = set(parts.filter(pl.col("split") == "train")["patient"])
held_out = set(parts.filter(pl.col("split") == "held_out")["patient"])
both = len(train & held_out)
print(f"patients with two hospital stays: {len(twice)}, of whom in two parts of subject_splits.parquet: {apart}")
print(f"held_out: {both} of its {len(held_out)} patients are also in train")

assert len(parts) == len(stays) and shards == set(split["split"]) == {"train", "tuning", "held_out"}
assert data["subject_id"].n_unique() == len(stays), "a subject is no longer a hospital stay"
assert set(data["subject_id"]) == set(whose["subject_id"])
assert named == in_metadata == 0, "the patient is named now"
assert apart > 0 and both > 0, "the split keeps a patient's stays together now"
print("CONFIRMED: a subject is a hospital stay, and the split puts one patient into train and into held_out")
PYTHON
