"""The interval of a share, against statsmodels and with several cases per patient."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from eagbench.stats.proportion import share_interval


@pytest.mark.parametrize(("events", "n"), [(0, 12), (1, 40), (17, 60), (60, 60)])
def test_with_one_case_per_patient_it_is_wilsons(events: int, n: int) -> None:
    labels = np.array([1] * events + [0] * (n - events))
    found = share_interval(labels, [str(i) for i in range(n)], 0.95)
    assert found == pytest.approx(proportion_confint(events, n, method="wilson"), abs=1e-9)


def test_copies_of_a_case_add_nothing() -> None:
    labels = np.array([1] * 15 + [0] * 45)
    patients = [str(i) for i in range(60)]
    once = share_interval(labels, patients, 0.95)
    assert share_interval(np.tile(labels, 4), patients * 4, 0.95) == pytest.approx(once)
    none = share_interval(np.zeros(240, dtype=int), patients * 4, 0.95)
    assert none == pytest.approx(share_interval(np.zeros(60, dtype=int), patients, 0.95))
