"""The items that the synthetic hospital charts and measures: MIMIC-IV's identifiers, labels and units.

Identifiers and labels are facts of MIMIC-IV's public dictionaries (d_items, d_labitems); the test suite checks them
against MIT-LCP/mimic-code. Units are spelt as in MIMIC-IV, where several spellings differ from the vocabulary's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Item:
    """One row of d_items or d_labitems.

    Attributes:
        itemid: MIMIC-IV's identifier.
        label: Its label.
        unit: `valueuom` of the item's events; empty where MIMIC-IV has none.
        decimals: Decimals of recorded values.
        category: Category in the dictionary.
        abbreviation: d_items only.
        kind: d_items' `param_type`.
    """

    itemid: int
    label: str
    unit: str
    decimals: int
    category: str
    abbreviation: str = ""
    kind: Literal["Numeric", "Text"] = "Numeric"


_VITAL, _RESP, _NEURO, _GENERAL = "Routine Vital Signs", "Respiratory", "Neurological", "General"
_CHEMISTRY, _HEMATOLOGY, _GAS = "Chemistry", "Hematology", "Blood Gas"

CHARTED: dict[str, Item] = {
    "heart_rate": Item(220045, "Heart Rate", "bpm", 0, _VITAL, "HR"),
    "arterial_systolic": Item(220050, "Arterial Blood Pressure systolic", "mmHg", 0, _VITAL, "ABPs"),
    "arterial_diastolic": Item(220051, "Arterial Blood Pressure diastolic", "mmHg", 0, _VITAL, "ABPd"),
    "arterial_mean": Item(220052, "Arterial Blood Pressure mean", "mmHg", 0, _VITAL, "ABPm"),
    "cuff_systolic": Item(220179, "Non Invasive Blood Pressure systolic", "mmHg", 0, _VITAL, "NBPs"),
    "cuff_diastolic": Item(220180, "Non Invasive Blood Pressure diastolic", "mmHg", 0, _VITAL, "NBPd"),
    "cuff_mean": Item(220181, "Non Invasive Blood Pressure mean", "mmHg", 0, _VITAL, "NBPm"),
    "respiratory_rate": Item(220210, "Respiratory Rate", "insp/min", 0, _RESP, "RR"),
    "oxygen_saturation": Item(220277, "O2 saturation pulseoxymetry", "%", 0, _RESP, "SpO2"),
    "temperature_fahrenheit": Item(223761, "Temperature Fahrenheit", "°F", 1, _VITAL, "Temperature F"),
    "temperature_celsius": Item(223762, "Temperature Celsius", "°C", 1, _VITAL, "Temperature C"),
    "gcs_eye": Item(220739, "GCS - Eye Opening", "", 0, _NEURO, "Eye Opening", "Text"),
    "gcs_verbal": Item(223900, "GCS - Verbal Response", "", 0, _NEURO, "Verbal Response", "Text"),
    "gcs_motor": Item(223901, "GCS - Motor Response", "", 0, _NEURO, "Motor Response", "Text"),
    "inspired_oxygen": Item(223835, "Inspired O2 Fraction", "", 0, _RESP, "FiO2"),
    "capillary_refill_right": Item(223951, "Capillary Refill R", "", 0, "Cardiovascular", "Capillary Refill R", "Text"),
    "capillary_refill_left": Item(224308, "Capillary Refill L", "", 0, "Cardiovascular", "Capillary Refill L", "Text"),
    "fingerstick_glucose": Item(225664, "Glucose finger stick (range 70-100)", "", 0, "Labs", "Glucose FS"),
    "admission_weight_kg": Item(226512, "Admission Weight (Kg)", "kg", 1, _GENERAL, "Admission Weight (Kg)"),
    "admission_weight_lb": Item(226531, "Admission Weight (lbs.)", "", 1, _GENERAL, "Admission Weight (lbs.)"),
    "daily_weight": Item(224639, "Daily Weight", "kg", 1, _GENERAL, "Daily Weight"),
    "height_inch": Item(226707, "Height", "Inch", 0, _GENERAL, "Height"),
    "height_cm": Item(226730, "Height (cm)", "cm", 0, _GENERAL, "Height (cm)"),
}

# Items of one panel are measured from one specimen; each is left out of a draw with the probability given last.
LABS: dict[str, tuple[tuple[Item, float], ...]] = {
    "chemistry": (
        (Item(50983, "Sodium", "mEq/L", 0, _CHEMISTRY), 0.02),
        (Item(50971, "Potassium", "mEq/L", 1, _CHEMISTRY), 0.02),
        (Item(50902, "Chloride", "mEq/L", 0, _CHEMISTRY), 0.02),
        (Item(50882, "Bicarbonate", "mEq/L", 0, _CHEMISTRY), 0.02),
        (Item(50868, "Anion Gap", "mEq/L", 0, _CHEMISTRY), 0.03),
        (Item(51006, "Urea Nitrogen", "mg/dL", 0, _CHEMISTRY), 0.02),
        (Item(50912, "Creatinine", "mg/dL", 1, _CHEMISTRY), 0.02),
        (Item(50931, "Glucose", "mg/dL", 0, _CHEMISTRY), 0.03),
        (Item(50893, "Calcium, Total", "mg/dL", 1, _CHEMISTRY), 0.15),
        (Item(50960, "Magnesium", "mg/dL", 1, _CHEMISTRY), 0.10),
        (Item(50970, "Phosphate", "mg/dL", 1, _CHEMISTRY), 0.15),
    ),
    "count": (
        (Item(51222, "Hemoglobin", "g/dL", 1, _HEMATOLOGY), 0.02),
        (Item(51221, "Hematocrit", "%", 1, _HEMATOLOGY), 0.01),
        (Item(51301, "White Blood Cells", "K/uL", 1, _HEMATOLOGY), 0.02),
        (Item(51265, "Platelet Count", "K/uL", 0, _HEMATOLOGY), 0.02),
    ),
    "coagulation": (
        (Item(51237, "INR(PT)", "", 1, _HEMATOLOGY), 0.0),
        (Item(51274, "PT", "sec", 1, _HEMATOLOGY), 0.0),
        (Item(51275, "PTT", "sec", 1, _HEMATOLOGY), 0.1),
    ),
    "liver": (
        (Item(50861, "Alanine Aminotransferase (ALT)", "IU/L", 0, _CHEMISTRY), 0.0),
        (Item(50878, "Asparate Aminotransferase (AST)", "IU/L", 0, _CHEMISTRY), 0.0),
        (Item(50863, "Alkaline Phosphatase", "IU/L", 0, _CHEMISTRY), 0.05),
        (Item(50885, "Bilirubin, Total", "mg/dL", 1, _CHEMISTRY), 0.0),
        (Item(50862, "Albumin", "g/dL", 1, _CHEMISTRY), 0.3),
    ),
    "gas": (
        (Item(50820, "pH", "units", 2, _GAS), 0.0),
        (Item(50821, "pO2", "mm Hg", 0, _GAS), 0.02),
        (Item(50818, "pCO2", "mm Hg", 0, _GAS), 0.02),
        (Item(50802, "Base Excess", "mEq/L", 0, _GAS), 0.02),
        (Item(50817, "Oxygen Saturation", "%", 0, _GAS), 0.6),
        (Item(50808, "Free Calcium", "mmol/L", 2, _GAS), 0.4),
    ),
    "lactate": ((Item(50813, "Lactate", "mmol/L", 1, _GAS), 0.0),),
    "troponin": ((Item(51003, "Troponin T", "ng/mL", 2, _CHEMISTRY), 0.0),),
}

GCS_EYE_TEXT = {1: "None", 2: "To Pain", 3: "To Speech", 4: "Spontaneously"}
GCS_VERBAL_TEXT = {
    1: "No Response",
    2: "Incomprehensible sounds",
    3: "Inappropriate Words",
    4: "Confused",
    5: "Oriented",
}
GCS_VERBAL_INTUBATED = "No Response-ETT"  # charted with the score 1
GCS_MOTOR_TEXT = {
    1: "No response",
    2: "Abnormal extension",
    3: "Abnormal Flexion",
    4: "Flex-withdraws",
    5: "Localizes Pain",
    6: "Obeys Commands",
}
REFILL_NORMAL, REFILL_ABNORMAL = "Normal <3 Seconds", "Abnormal >3 Seconds"
