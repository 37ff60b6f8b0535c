"""Real records under every perturbation: experts survive it, and the text says otherwise where it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eagbench.api import (
    STYLES,
    Cases,
    Expert,
    LabelledCases,
    Perturbation,
    RecordText,
    RecordTextParams,
    StageRun,
    TrainingData,
    create_component,
    prompt_text,
)
from eagbench.contracts.stages import no_progress
from eagbench.execution.resolve import case_seed
from eagbench.registry.plugins import load_registry

PERTURBATIONS = list(load_registry().names("perturbation"))
N_TRAIN, N_TUNING, N_ASKED = 140, 60, 30
# Experts find their columns by name; these two summarise the window by statistics that know no order but the last.
UNSEEN_BY_EXPERTS = {"feature_order", "time_shuffle_before_last"}


def stage_run(folder: Path) -> StageRun:
    return StageRun(params={}, inputs={}, seed=0, out=folder, progress=no_progress)


@pytest.fixture(scope="module")
def labelled(physionet_root: Path, tmp_path_factory: pytest.TempPathFactory) -> LabelledCases:
    dataset = load_registry().create("dataset", "physionet2012", {"root": str(physionet_root)})
    cohort = dataset.load(stage_run(tmp_path_factory.mktemp("load")))
    return LabelledCases(cohort.cases, cohort.labels)


@pytest.fixture(scope="module")
def data(labelled: LabelledCases) -> TrainingData:
    tuning = range(N_TRAIN, N_TRAIN + N_TUNING)
    return TrainingData(labelled.select(range(N_TRAIN)), labelled.select(tuning))


@pytest.fixture(scope="module")
def experts(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Expert]:
    fitted = {}
    for name in ("logistic_regression", "lightgbm"):
        expert: Expert = load_registry().create("expert", name, {})
        expert.fit(data, stage_run(tmp_path_factory.mktemp(name)))
        fitted[name] = expert
    return fitted


@pytest.fixture(scope="module")
def asked(labelled: LabelledCases) -> Cases:
    start = N_TRAIN + N_TUNING
    return labelled.select(range(start, start + N_ASKED)).cases


def perturbed(name: str, data: TrainingData, cases: Cases, level: int) -> Cases:
    perturbation: Perturbation = create_component({"kind": "perturbation", "name": name, "params": {}})
    perturbation.fit(data.train.cases)
    severity = perturbation.traits.levels[level - 1]
    return cases.with_items([perturbation.apply(case, severity, case_seed(name, case.case_id)) for case in cases])


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_experts_answer_under_every_perturbation(
    name: str, data: TrainingData, experts: dict[str, Expert], asked: Cases
) -> None:
    for level in (1, 3, 5):
        changed = perturbed(name, data, asked, level)
        for label, expert in experts.items():
            probability = expert.predict(changed)
            assert np.isfinite(probability).all(), (label, level)
            assert ((probability >= 0) & (probability <= 1)).all(), (label, level)
    np.testing.assert_allclose(experts["lightgbm"].salience(changed).sum(axis=1), 1.0)
    applies = "columns" in load_registry().get("perturbation", name).component.traits.applies_to  # type: ignore[attr-defined]
    moved = any(not np.allclose(e.predict(changed), e.predict(asked), atol=1e-9) for e in experts.values())
    assert moved == (applies and name not in UNSEEN_BY_EXPERTS)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_the_prompt_changes(name: str, data: TrainingData, asked: Cases) -> None:
    if "text" not in load_registry().get("perturbation", name).component.traits.applies_to:  # type: ignore[attr-defined]
        pytest.skip("means nothing to a reader of text")
    text = RecordText(RecordTextParams())
    style = STYLES["vanilla"]
    before = [prompt_text(style, case, asked, text) for case in asked]
    shares = []
    for level in (1, 5):
        after = [prompt_text(style, case, asked, text) for case in perturbed(name, data, asked, level)]
        shares.append(np.mean([a != b for a, b in zip(before, after, strict=True)]))
    assert shares[1] >= shares[0] > 0
    # Nearly every text differs at the highest level: some patients' last hours are empty, some slips do not show.
    assert shares[1] > 0.9
