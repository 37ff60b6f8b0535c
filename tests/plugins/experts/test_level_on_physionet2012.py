"""Experts reach what the literature leads one to expect, on real records; margins keep silent regressions out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from eagbench.api import Expert, LabelledCases, StageRun, TrainingData
from eagbench_plugins.datasets.physionet2012 import PhysioNet2012
from eagbench_plugins.experts.concare import ConCare
from eagbench_plugins.experts.gradient_boosting import LightGBM
from eagbench_plugins.experts.gru_d import GRUD
from eagbench_plugins.experts.transformer import Transformer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingData, LabelledCases]:
    """Set A: 70 % to train, 10 % to tune, 20 % held out. Every stay is another patient."""
    params = PhysioNet2012.Params(root=shared_data / "physionet2012", window_hours=48)
    run = StageRun(params={}, inputs={}, seed=0, out=tmp_path_factory.mktemp("cohort"))
    cohort = PhysioNet2012(params).load(run)
    every = LabelledCases(cohort.cases, cohort.labels)
    rest, held_out = train_test_split(np.arange(len(every)), test_size=0.2, stratify=every.labels, random_state=0)
    train, tuning = train_test_split(rest, test_size=0.125, stratify=every.labels[rest], random_state=0)
    return TrainingData(every.select(train), every.select(tuning)), every.select(held_out)


# Two standard errors of an AUROC on 800 cases with 111 deaths come to 0.04, so a level below the one that is expected
# over all folds (0.85, 0.82, 0.83 and 0.83) has to be allowed on one part; a broken expert falls further.
@pytest.mark.parametrize(
    ("kind", "at_least"),
    [(LightGBM, 0.84), (ConCare, 0.81), (GRUD, 0.83), (Transformer, 0.81)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_level(kind: type, at_least: float, parts: tuple[TrainingData, LabelledCases], tmp_path: Path) -> None:
    data, held_out = parts
    expert: Expert = kind(kind.Params())
    expert.fit(data, StageRun(params={}, inputs={}, seed=0, out=tmp_path))
    assert roc_auc_score(held_out.labels, expert.predict(held_out.cases)) > at_least
