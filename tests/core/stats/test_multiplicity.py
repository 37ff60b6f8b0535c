"""Corrections for many tests, against statsmodels."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from eagbench.stats.multiplicity import benjamini_hochberg, holm

P_VALUES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.001, 0.01, 0.05, 1.0])), min_size=1, max_size=40)


def by_statsmodels(p: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    """Without its call of gc.collect, which takes a second or more where torch is loaded."""
    with patch("gc.collect"):
        corrected: NDArray[np.float64] = multipletests(p, method=method)[1]
    return corrected


@given(P_VALUES)
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    p = np.array(p_values)
    assert holm(p) == pytest.approx(by_statsmodels(p, "holm"), abs=1e-12)


@given(P_VALUES)
def test_benjamini_hochberg_equals_statsmodels(p_values: list[float]) -> None:
    p = np.array(p_values)
    assert benjamini_hochberg(p) == pytest.approx(by_statsmodels(p, "fdr_bh"), abs=1e-12)


def test_by_hand() -> None:
    p = np.array([0.04, 0.01, 0.03])
    assert holm(p) == pytest.approx([0.06, 0.03, 0.06])  # 3 x 0.01, then 2 x 0.03, then at least that
    assert benjamini_hochberg(p) == pytest.approx([0.04, 0.03, 0.04])  # 3/3 x 0.04, 3/2 x 0.03 capped by it, 3 x 0.01


def test_no_test_is_no_correction() -> None:
    assert holm(np.array([])).shape == benjamini_hochberg(np.array([])).shape == (0,)
