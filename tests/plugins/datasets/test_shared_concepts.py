"""Where two domains hold the same quantity, their records agree on its size: a factor of ten would be a unit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eagbench.contracts.records import Cohort
from eagbench.contracts.stages import StageRun
from eagbench.vocabulary.vocabulary import vocabulary
from eagbench_plugins.datasets.icu_demo import IcuDemo, IcuDemoParams
from eagbench_plugins.datasets.mimic4.dataset import Mimic4
from eagbench_plugins.datasets.mimic4.params import Mimic4Params
from eagbench_plugins.datasets.mimic4.synthetic import write_hospital
from eagbench_plugins.datasets.physionet2012 import PhysioNet2012, PhysioNet2012Params
from eagbench_plugins.datasets.tjh import Tjh, TjhParams

PHYSIONET_AND_ICU_DEMO = """
alanine_aminotransferase albumin alkaline_phosphatase aspartate_aminotransferase bicarbonate bilirubin_total creatinine
diastolic_blood_pressure fraction_inspired_oxygen glucose heart_rate lactate magnesium mean_blood_pressure paco2 pao2 ph
platelets potassium respiratory_rate sodium systolic_blood_pressure temperature troponin_t urea_nitrogen urine_output
white_blood_cells
"""
# Patients differ by less; units by 2.4 (magnesium), 2.8 (urea) or far more.
AT_MOST = 2.3
# C-reactive protein is measured on suspicion (29 values in eICU); its units differ by 10.
AT_MOST_OF = {"c_reactive_protein": 4.0}
ENOUGH = 25


@pytest.fixture(scope="module")
def medians(
    shared_data: Path, physionet_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, float]]:
    """Per domain the median of every feature that has at least 25 values."""
    run = StageRun(params={}, inputs={}, seed=0, out=tmp_path_factory.mktemp("stage"))
    hospital = tmp_path_factory.mktemp("mimic4")
    write_hospital(hospital, patients=60, seed=1)
    demo = shared_data / "icu-demo"
    cohorts = {
        "physionet2012": PhysioNet2012(PhysioNet2012Params(root=physionet_root, window_hours=24)).load(run),
        "eicu_demo": IcuDemo(IcuDemoParams(root=demo / "eicu_demo")).load(run),
        "mimic_demo": IcuDemo(IcuDemoParams(root=demo / "mimic_demo")).load(run),
        "tjh": Tjh(TjhParams(root=shared_data / "tjh")).load(run),
        "mimic4": Mimic4(Mimic4Params(root="synthetic", window_hours=24))
        .load(replace(run, inputs={"source": hospital}))
        .collect(),
    }
    return {name: _medians(cohort) for name, cohort in cohorts.items()}


def _medians(cohort: Cohort) -> dict[str, float]:
    names = cohort.cases.feature_names
    stacked = np.concatenate([case.values_in_order(names) for case in cohort.cases])  # (rows, F)
    enough = (~np.isnan(stacked)).sum(axis=0) >= ENOUGH
    return {name: float(np.nanmedian(stacked[:, j])) for j, name in enumerate(names) if enough[j]}


def held(source: str) -> set[str]:
    return {item.concept for item in vocabulary().source(source)}


def test_what_is_shared() -> None:
    assert held("physionet2012") & held("icu_demo") == set(PHYSIONET_AND_ICU_DEMO.split())
    assert len(held("icu_demo") & held("eicu")) == 47  # all but urine, which eICU keeps in a table that is not read
    counts = {
        ("physionet2012", "eicu"): 31,
        ("mimic4", "icu_demo"): 45,
        ("mimic4", "eicu"): 64,
        ("mimic4", "tjh"): 50,
        ("tjh", "eicu"): 41,
    }
    assert {pair: len(held(pair[0]) & held(pair[1])) for pair in counts} == counts


@pytest.mark.parametrize(
    ("first", "second", "at_least"),
    [
        ("physionet2012", "eicu_demo", 26),
        ("mimic_demo", "eicu_demo", 40),
        ("tjh", "eicu_demo", 25),
        ("mimic4", "tjh", 20),
    ],
)
def test_medians_are_of_one_size(medians: dict[str, dict[str, float]], first: str, second: str, at_least: int) -> None:
    shared = medians[first].keys() & medians[second].keys()
    assert len(shared) >= at_least
    apart = {}
    for name in shared:
        a, b = medians[first][name], medians[second][name]
        if a > 0 and b > 0 and max(a / b, b / a) > AT_MOST_OF.get(name, AT_MOST):
            apart[name] = (a, b)
    assert not apart
