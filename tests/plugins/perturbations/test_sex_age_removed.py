from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.plugins.perturbations.records import fitted, typical

CASE = replace(typical(1), static={"age": 61.0, "sex": 0.0, "height": 170.0})
PERTURBATION = fitted("sex_age_removed")


def test_both_go_and_other_facts_stay() -> None:
    static = fitted("sex_age_removed").apply(CASE, 1.0, 4).static
    assert math.isnan(static["age"])
    assert math.isnan(static["sex"])
    assert static["height"] == 170.0


def test_one_of_them_may_go_alone() -> None:
    static = fitted("sex_age_removed", facts=["sex"]).apply(CASE, 1.0, 4).static
    assert math.isnan(static["sex"])
    assert static["age"] == 61.0
    for wrong in ([], ["icu_type"]):
        with pytest.raises(ValueError, match="facts"):
            fitted("sex_age_removed", facts=wrong)


def test_the_severity_is_the_share_of_the_patients() -> None:
    lost = [math.isnan(PERTURBATION.apply(CASE, 0.3, seed).static["age"]) for seed in range(2000)]
    np.testing.assert_allclose(np.mean(lost), 0.3, atol=4 * np.sqrt(0.21 / 2000))
