from __future__ import annotations

import numpy as np
import pytest

from builders import make_case, make_cohort_cases
from eagbench.api import RecordText, RecordTextParams, vocabulary
from eagbench_plugins.perturbations.unit_change import other_units
from tests.plugins.perturbations.records import FEATURES, NAMES, cohort_of, fitted, of_series

CASE = of_series(
    {"glucose": [180.156, 90.078], "temperature": [37.0, 40.0], "creatinine": [1.0, 2.0], "heart_rate": [80.0, 90.0]}
)
CHANGEABLE = ("creatinine", "glucose", "temperature", "weight")


def lines(case, **params: object) -> dict[str, str]:  # type: ignore[no-untyped-def]
    text = RecordText(RecordTextParams(**params)).render(case, cohort_of(case))  # type: ignore[arg-type]
    return {line.split(" ")[0].rstrip(":"): line for line in text.splitlines()}


def test_only_features_with_a_conversion_that_changes_the_number_have_another_unit() -> None:
    units = other_units(cohort_of(CASE))
    assert sorted(units) == list(CHANGEABLE)
    for feature in FEATURES:
        if feature.name in units:
            there = units[feature.name]
            written = there.factor * 50.0 + there.offset
            # The vocabulary's own conversion leads back.
            np.testing.assert_allclose(vocabulary().to_canonical(feature.name, written, there.unit), 50.0)


def test_a_concept_in_two_labels_of_one_number_has_no_other_unit() -> None:
    names = ("sodium", "ph", "hemoglobin")
    cases = make_cohort_cases([make_case({name: [1.0] for name in names})], names)
    described = type(cases)(vocabulary().features(names), cases.static_names, cases.task, cases.items)
    assert set(other_units(described)) == {"hemoglobin"}  # mEq/L is mmol/L, and pH has no unit
    assert other_units(cases) == {}  # the builders' features are in no unit of the vocabulary's


def test_with_its_label_number_unit_and_reference_range_change_together() -> None:
    changed = fitted("unit_change").apply(CASE, 1.0, 1)
    shown = lines(changed)
    assert shown["glucose"] == "glucose (mmol/L; reference 3.886 to 7.771): 10, 5"
    assert shown["temperature"] == "temperature (degF; reference 96.98 to 100): 98.6, 104"
    assert shown["creatinine"] == "creatinine (umol/L; reference 44.2 to 106.1): 88.4, 176.8"
    assert shown["heart_rate"] == "heart_rate (beats/min; reference 60 to 100): 80, 90"
    np.testing.assert_array_equal(changed.values, CASE.values)


def test_with_its_label_flags_say_the_same_and_bins_do_not_change() -> None:
    changed = fitted("unit_change").apply(CASE, 1.0, 1)
    clean, other = (lines(case, values="flagged") for case in (CASE, changed))
    for name in ("glucose", "temperature", "creatinine"):
        flags = [[item.split(" ")[-1] for item in text[name].split(": ")[1].split(", ")] for text in (clean, other)]
        assert flags[0] == flags[1]
    bins = RecordText(RecordTextParams(values="quantile")).fit(cohort_of(CASE))
    assert bins.render(changed, cohort_of(CASE)) == bins.render(CASE, cohort_of(CASE))


def test_without_its_label_the_number_alone_changes() -> None:
    changed = fitted("unit_change_unlabelled").apply(CASE, 1.0, 1)
    assert changed.renderings == {}
    np.testing.assert_allclose(changed.values[:, NAMES.index("glucose")], [10.0, 5.0], rtol=1e-5)
    np.testing.assert_allclose(changed.values[:, NAMES.index("temperature")], [98.6, 104.0], rtol=1e-5)
    np.testing.assert_array_equal(changed.values[:, NAMES.index("heart_rate")], [80.0, 90.0])
    assert lines(changed)["glucose"] == "glucose (mg/dL; reference 70 to 140): 10, 5"


@pytest.mark.parametrize("severity", [0.25, 0.5, 0.75])
def test_both_change_the_same_share_of_the_same_features(severity: float) -> None:
    case = of_series({name: [50.0] for name in NAMES})
    for seed in range(10):
        labelled = fitted("unit_change").apply(case, severity, seed).renderings
        unlabelled = fitted("unit_change_unlabelled").apply(case, severity, seed)
        moved = {name for name, value in zip(NAMES, unlabelled.values[0], strict=True) if value != 50.0}
        assert set(labelled) == moved
        assert len(moved) == round(severity * len(CHANGEABLE))
