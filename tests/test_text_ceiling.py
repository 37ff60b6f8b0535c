"""What LightGBM reads from the words of a record: each word's bin, and nothing where it is not there."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from eagbench.api import Cases, RecordText, RecordTextParams, vocabulary
from tests.builders import TASK, make_case
from tests.conftest import ROOT

FEATURES = vocabulary().features(("heart_rate", "glucose"))


@pytest.fixture
def ceiling(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
    return importlib.import_module("text_ceiling")


def cohort(n: int) -> Cases:
    """Cases whose lowest heart rate rises while the highest stays; every second one has no glucose."""
    series = ({"heart_rate": [150.0, 41.0 + i / 4], "glucose": [np.nan, np.nan if i % 2 else 100.0]} for i in range(n))
    return Cases(
        FEATURES, ("age", "sex"), TASK, tuple(make_case(values, case_id=f"c{i}") for i, values in enumerate(series))
    )


def test_words_become_columns_with_their_bins(ceiling: ModuleType) -> None:
    cases = cohort(8)
    params = RecordTextParams(values="quantile", periods=1, bins=4, shows=("lowest", "count"), instructions="short")
    table = ceiling.read(cases, RecordText(params).fit(cases))
    assert table["heart_rate/lowest"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert set(table["sex"]) <= {0.0, 1.0}
    assert table["glucose/count"].isna().tolist() == [False, True] * 4


def test_what_the_text_says_is_found_and_what_it_leaves_out_is_not(ceiling: ModuleType) -> None:
    cases = cohort(400)
    labels = (np.arange(400) >= 200).astype(int)
    folds = list(StratifiedKFold(4, shuffle=True, random_state=0).split(np.zeros(400), labels))
    found = {}
    for shows in (("lowest",), ("highest",)):
        params = RecordTextParams(values="quantile", periods=1, shows=shows, instructions="short")
        table = ceiling.read(cases, RecordText(params).fit(cases))
        found[shows[0]] = np.mean(ceiling.areas(table, labels, folds))
    assert found["lowest"] > 0.95
    assert found["highest"] < 0.6
