"""The clinical vocabulary: unit conversion, cleaning, and item ids and codes against public sources."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.contracts.records import Feature
from eagbench.errors import UserError
from eagbench.vocabulary.concepts import Concept, SourceItem
from eagbench.vocabulary.vocabulary import vocabulary

VOCABULARY = vocabulary()
CONVERSIONS = [
    (name, unit)
    for name in VOCABULARY.names
    for unit in (VOCABULARY.concept(name).unit, *VOCABULARY.concept(name).conversions)
]

# Item ids and LOINC codes as MIT-LCP/mimic-code gives them, transcribed from
# mimic-iv/concepts/concept_map/hosp/labevents_to_loinc.csv and icu/chartevents_to_loinc.csv.
MIMIC_CODE_LOINC = {
    50802: "11555-0", 50806: "2069-3", 50808: "1994-3", 50809: "2339-0", 50810: "48703-3", 50811: "718-7",
    50813: "32693-4", 50816: "3150-0", 50817: "20564-1", 50818: "11557-6", 50820: "11558-4", 50821: "11556-8",
    50822: "6298-4", 50824: "2947-0", 50861: "1742-6", 50862: "1751-7", 50863: "6768-6", 50868: "1863-0",
    50878: "1920-8", 50882: "1963-8", 50883: "1968-7", 50884: "1971-1", 50885: "1975-2", 50889: "1988-5",
    50893: "17861-6", 50902: "2075-0", 50907: "2093-3", 50910: "2157-6", 50911: "13969-1", 50912: "2160-0",
    50924: "2276-4", 50930: "2336-6", 50931: "2345-7", 50954: "2532-0", 50960: "19123-9", 50963: "33762-6",
    50970: "2777-1", 50971: "2823-3", 50976: "2885-2", 50983: "2951-2", 51003: "6598-7", 51006: "3094-0",
    51007: "3084-1", 51133: "731-0", 51146: "706-2", 51200: "713-8", 51214: "3255-7", 51221: "4544-3",
    51222: "718-7", 51237: "6301-6", 51244: "736-9", 51248: "785-6", 51249: "786-4", 51250: "787-2",
    51254: "5905-5", 51256: "770-8", 51265: "777-3", 51274: "5902-2", 51275: "14979-9", 51277: "788-0",
    51279: "789-8", 51288: "4537-7", 51301: "6690-2", 52069: "704-7", 52073: "711-2", 52074: "742-7",
    52075: "751-8", 52172: "21000-5",
    220045: "8867-4", 220050: "8480-6", 220051: "8462-4", 220052: "8478-0", 220179: "76534-7", 220180: "76535-4",
    220181: "76536-2", 220210: "9279-1", 220277: "59408-5", 223761: "8310-5", 223762: "8310-5", 225309: "8480-6",
    225310: "8462-4", 225312: "8478-0", 226512: "29463-7", 226531: "29463-7", 226707: "8302-2", 226730: "8302-2",
}  # fmt: skip
# A concept takes the code of its main place; these are the same quantity in whole blood or by cuff.
SAME_QUANTITY = {"2069-3": "2075-0", "2339-0": "2345-7", "48703-3": "4544-3", "6298-4": "2823-3", "2947-0": "2951-2",
                 "76534-7": "8480-6", "76535-4": "8462-4", "76536-2": "8478-0"}  # fmt: skip
# Places without an entry in those maps, with the concept they stand for in mimic-code's SQL (measurement/enzyme, gcs,
# bg, vitalsign, coagulation, blood_differential); those of the last row are not in that SQL and were compared with the
# item lists of other public extraction code for MIMIC.
MIMIC_CODE_SQL = {
    50927: "gamma_glutamyl_transferase", 51245: "lymphocytes_percent", 51297: "thrombin_time",
    220739: "gcs_eye", 223900: "gcs_verbal", 223901: "gcs_motor", 223835: "fraction_inspired_oxygen",
    224690: "respiratory_rate", 220621: "glucose", 225664: "glucose", 226537: "glucose",
    220274: "ph", 223830: "ph", 223951: "capillary_refill", 224308: "capillary_refill", 224639: "weight",
}  # fmt: skip


@pytest.mark.parametrize(
    ("concept", "value", "unit", "expected"),
    [
        ("temperature", 98.6, "°F", 37.0),
        ("temperature", 212.0, "degF", 100.0),
        ("temperature", -40.0, "F", -40.0),
        ("glucose", 5.55, "mmol/L", 100.0),
        ("creatinine", 88.4, "umol/L", 1.0),
        ("creatinine", 88.4, "µmol/L", 1.0),
        ("urea_nitrogen", 7.14, "mmol/L", 20.0),
        ("bilirubin_total", 17.1, "umol/L", 1.0),
        ("calcium", 2.5, "mmol/L", 10.0),
        ("magnesium", 1.0, "mmol/L", 2.43),
        ("cholesterol_total", 5.17, "mmol/L", 200.0),
        ("uric_acid", 420.0, "umol/L", 7.06),
        ("hemoglobin", 125.0, "g/L", 12.5),
        ("fraction_inspired_oxygen", 0.4, "fraction", 40.0),
        ("weight", 154.32, "lbs", 70.0),
        ("height", 70.0, "Inch", 177.8),
        ("pao2", 13.3, "kPa", 100.0),
        ("troponin_i", 0.04, "ug/L", 40.0),
        ("sodium", 140.0, "mEq/L", 140.0),
        ("platelets", 250.0, "K/uL", 250.0),
        ("fibrinogen", 4.0, "g/L", 400.0),
    ],
)
def test_conversions_give_the_known_answers(concept: str, value: float, unit: str, expected: float) -> None:
    assert VOCABULARY.to_canonical(concept, [value], unit)[0] == pytest.approx(expected, rel=0.005)


@given(
    which=st.sampled_from(CONVERSIONS),
    pair=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
    weight=st.floats(0, 1),
)
def test_conversion_is_affine_increasing_and_round_trips(
    which: tuple[str, str], pair: tuple[float, float], weight: float
) -> None:
    name, unit = which
    low, high = sorted(pair)
    first, second, between = VOCABULARY.to_canonical(name, [low, high, weight * low + (1 - weight) * high], unit)
    assert first <= second
    assert between == pytest.approx(weight * first + (1 - weight) * second, rel=1e-9, abs=1e-6)
    zero, one = VOCABULARY.to_canonical(name, [0.0, 1.0], unit)
    assert (first - zero) / (one - zero) == pytest.approx(low, rel=1e-6, abs=1e-6)


def test_conversion_keeps_shape_and_missing_values() -> None:
    found = VOCABULARY.to_canonical("glucose", [[np.nan, 1.0], [2.0, 3.0]], "mmol/L")
    assert found.shape == (2, 2)
    assert found.dtype == np.float64
    assert np.isnan(found[0, 0])
    assert not np.isnan(found[1]).any()


def test_unknown_unit_names_concept_unit_and_what_is_permitted() -> None:
    with pytest.raises(UserError) as raised:
        VOCABULARY.to_canonical("creatinine", [1.0], "furlong")
    for part in ("creatinine", "furlong", "mg/dL", "umol/L"):
        assert part in raised.value.message


def test_a_place_with_mixed_units_tells_fractions_from_percentages() -> None:
    (item,) = [i for i in VOCABULARY.source("mimic4") if i.keys.get("itemid") == 223835]
    np.testing.assert_allclose(VOCABULARY.from_source(item, [0.4, 1.0, 21.0, 100.0, 5.0]), [40, 100, 21, 100, 5])


def test_a_row_without_a_unit_takes_that_of_its_place() -> None:
    item = SourceItem(concept="temperature", unit="degF", keys={"column": "temp"})
    for blank in (None, "", "  "):
        assert VOCABULARY.from_source(item, [98.6], blank)[0] == pytest.approx(37.0)
    assert VOCABULARY.from_source(item, [37.0], "°C")[0] == pytest.approx(37.0)


def test_clean_removes_what_lies_outside_and_counts_it() -> None:
    found = np.array([7.4, 735.0, np.nan, 6.3, 8.0, 0.0, 7.3])
    cleaned, removed = VOCABULARY.clean("ph", found)
    assert removed == 2
    np.testing.assert_array_equal(cleaned, [7.4, np.nan, np.nan, 6.3, 8.0, np.nan, 7.3])
    assert found[1] == 735.0  # the input is left alone


def test_a_median_that_no_patient_can_have_stops() -> None:
    kelvin = [310.1, 309.8, 311.0, 37.0, 310.4]
    with pytest.raises(UserError) as raised:
        VOCABULARY.clean("temperature", kelvin, "labs.csv, column temp")
    for part in ("labs.csv, column temp", "temperature", "degC", "310.1"):
        assert part in raised.value.message


def test_hemoglobin_in_grams_per_litre_called_grams_per_decilitre_stops() -> None:
    values = VOCABULARY.to_canonical("hemoglobin", [118.0, 125.0, 131.0, 140.0, 99.0], "g/dL")
    with pytest.raises(UserError, match=r"expected unit: g/dL|Expected unit: g/dL"):
        VOCABULARY.clean("hemoglobin", values)


@pytest.mark.parametrize(
    ("concept", "median", "said", "found"),
    [
        ("glucose", 7.2, "mg/dL", "mmol/L"),
        ("glucose", 130.0, "mmol/L", "mg/dL"),
        ("calcium", 2.1, "mg/dL", "mmol/L"),
        ("creatinine", 95.0, "mg/dL", "umol/L"),
        ("albumin", 29.0, "g/dL", "g/L"),
        ("magnesium", 0.82, "mg/dL", "mmol/L"),
        ("phosphate", 1.1, "mg/dL", "mmol/L"),
        ("bilirubin_total", 14.0, "mg/dL", "umol/L"),
        ("temperature", 98.2, "degC", "degF"),
        ("hematocrit", 0.31, "%", "fraction"),
        ("pao2", 12.5, "mmHg", "kPa"),
    ],
)
def test_a_median_in_another_unit_names_both(concept: str, median: float, said: str, found: str) -> None:
    raw = median * np.linspace(0.8, 1.2, 41)
    with pytest.raises(UserError) as raised:
        VOCABULARY.clean(concept, VOCABULARY.to_canonical(concept, raw, said), "file", said)
    assert f"Expected unit: {said}; found: {found}." in raised.value.message
    assert raised.value.message.startswith(f"file: {concept}: ")
    _, removed = VOCABULARY.clean(concept, VOCABULARY.to_canonical(concept, raw, found), "file", found)
    assert removed < 41


@pytest.mark.parametrize(
    ("concept", "median", "said"),
    [
        ("lactate", 5.0, "mmol/L"),  # shock
        ("creatinine", 7.0, "mg/dL"),  # dialysis
        ("bilirubin_total", 4.0, "mg/dL"),  # a liver unit
        ("albumin", 1.8, "g/dL"),
        ("urea_nitrogen", 60.0, "mg/dL"),
        ("phosphate", 7.0, "mg/dL"),
        ("fraction_inspired_oxygen", 100.0, "%"),
        ("pao2", 40.0, "mmHg"),
        ("c_reactive_protein", 250.0, "mg/L"),
        ("troponin_i", 20000.0, "ng/L"),
        ("troponin_t", 0.0, "ng/mL"),
        ("d_dimer", 2.0, "ug/mL"),
        ("base_excess", -8.0, "mEq/L"),
        ("bilirubin_direct", 8.0, "mg/dL"),
        ("weight", 160.0, "lb"),
    ],
)
def test_sick_patients_are_no_wrong_unit(concept: str, median: float, said: str) -> None:
    raw = median * np.linspace(0.9, 1.1, 41)
    VOCABULARY.clean(concept, VOCABULARY.to_canonical(concept, raw, said), None, said)


def test_a_median_near_none_of_the_units_is_judged_by_what_is_plausible_only() -> None:
    few = np.full(24, 7.2)
    assert VOCABULARY.clean("glucose", few)[1] == 0  # too few to tell a unit from one patient
    assert VOCABULARY.clean("glucose", np.full(25, 20.0))[1] == 0  # hypoglycaemia, or mmol/L of a very high glucose
    with pytest.raises(UserError, match="found: mmol/L"):
        VOCABULARY.clean("glucose", np.full(25, 7.2))


def test_which_units_are_known() -> None:
    assert VOCABULARY.knows_unit("glucose", "MG/DL")
    assert VOCABULARY.knows_unit("platelets", "k/MM3")
    assert not VOCABULARY.knows_unit("glucose", "furlong")


def test_a_few_artefacts_are_no_wrong_unit() -> None:
    cleaned, removed = VOCABULARY.clean("ph", [735.0, 740.0])
    assert removed == 2
    assert np.isnan(cleaned).all()


def test_features_carry_the_table() -> None:
    (feature,) = VOCABULARY.features(["potassium"])
    assert feature == Feature(
        name="potassium",
        label="Potassium",
        unit="mmol/L",
        plausible=(1.0, 15.0),
        reference=(3.5, 5.1),
        synonyms=("K", "K+", "serum potassium"),
        loinc="2823-3",
        decimals=2,
    )


@pytest.mark.parametrize("name", [n for n in VOCABULARY.names if VOCABULARY.concept(n).loinc])
def test_loinc_check_digits(name: str) -> None:
    number, check = str(VOCABULARY.concept(name).loinc).split("-")
    digits = [int(digit) * (2 if position % 2 == 0 else 1) for position, digit in enumerate(reversed(number))]
    total = sum(digit - 9 if digit > 9 else digit for digit in digits)
    assert (10 - total % 10) % 10 == int(check)


def test_mimic_item_ids_mean_what_mimic_code_says() -> None:
    seen = set()
    for item in VOCABULARY.source("mimic4"):
        itemid = int(item.keys["itemid"])
        seen.add(itemid)
        assert item.keys["table"] == ("chartevents" if itemid > 220000 else "labevents")
        if itemid in MIMIC_CODE_SQL:
            assert MIMIC_CODE_SQL[itemid] == item.concept, itemid
        else:
            code = MIMIC_CODE_LOINC[itemid]
            assert SAME_QUANTITY.get(code, code) == VOCABULARY.concept(item.concept).loinc, itemid
    assert seen == MIMIC_CODE_LOINC.keys() | MIMIC_CODE_SQL.keys()


def test_mimic_has_the_charted_vitals_and_usual_labs() -> None:
    held = {item.concept for item in VOCABULARY.source("mimic4")}
    vitals = "heart_rate systolic_blood_pressure diastolic_blood_pressure mean_blood_pressure respiratory_rate "
    vitals += "oxygen_saturation temperature gcs_eye gcs_verbal gcs_motor fraction_inspired_oxygen glucose ph weight "
    vitals += "height capillary_refill"
    assert set(vitals.split()) <= held


def test_domains_meet_through_concepts() -> None:
    held = {s: {item.concept for item in VOCABULARY.source(s)} for s in ("mimic4", "tjh", "physionet2012")}
    assert len(held["mimic4"] & held["tjh"]) >= 40
    assert len(held["mimic4"] & held["physionet2012"]) >= 25
    assert len(held["tjh"] & held["physionet2012"]) >= 12


def _concept(**changes: object) -> dict[str, object]:
    entry = {"name": "x", "label": "X", "loinc": None, "unit": "g/L", "plausible": [0, 1], "reference": [None, None]}
    return {**entry, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"plausible": [1, 1]},
        {"reference": [0, 2]},
        {"loinc": "abc"},
        {"conversions": {"g/dL": {"factor": 0}}},
        {"colour": "red"},
    ],
)
def test_a_wrong_entry_is_refused(changes: dict[str, object]) -> None:
    Concept.model_validate(_concept())
    with pytest.raises(ValueError, match=r"validation error"):
        Concept.model_validate(_concept(**changes))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{}, {}], "share a name"),
        ([{"synonyms": ["Z"]}, {"name": "y", "label": "Y", "synonyms": ["z"]}], "names both"),
        ([{"sources": {"s": [{"column": "c", "unit": "mmol/L"}]}}], "no conversion"),
        (
            [
                {"sources": {"s": [{"column": "c", "unit": "g/L"}]}},
                {"name": "y", "label": "Y", "sources": {"s": [{"column": "c", "unit": "g/L"}]}},
            ],
            "stands for both",
        ),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(entries: list[dict[str, object]], message: str) -> None:
    from eagbench.vocabulary.vocabulary import Vocabulary

    concepts = [Concept.model_validate(_concept(**entry)) for entry in entries]
    with pytest.raises(ValueError, match=message):
        Vocabulary(concepts, {})


def test_the_vocabulary_loads_without_heavy_packages() -> None:
    code = (
        "import sys; from eagbench.vocabulary.vocabulary import vocabulary; vocabulary();"
        "print([m for m in ('pandas', 'polars', 'torch', 'pyhealth', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
