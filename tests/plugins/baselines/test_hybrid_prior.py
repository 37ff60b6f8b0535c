"""The policy's prior: what is asked, what is made of it, and that a right one helps and a wrong one hurts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

from eagbench.api import ANSWER_LEVELS, StageRun, TrainingData
from eagbench.prompting.answering import open_policy
from eagbench_plugins.baselines.elicitation import FeaturePrior, correlation_question, elicit, relevance_question
from eagbench_plugins.baselines.prior_expert import (
    STATISTICS,
    PriorExpert,
    fit_prior_expert,
    mixing_matrices,
    penalty_weights,
    statistics,
)
from tests.builders import TASK, make_case, make_cases, make_cohort_cases, more_often_measured_if_dying


def test_every_feature_and_every_pair_is_asked_about_once(stages, tmp_path: Path) -> None:
    cases = stages.data.train.cases
    elicit(StageRun({}, {"cases": cases, "policy": stages.policy}, 0, tmp_path))
    prior = FeaturePrior.load(tmp_path)
    n = len(cases.features)
    assert prior.features == cases.feature_names
    assert prior.relevance.shape == (n,)
    assert ((prior.relevance > 0) & (prior.relevance < 1)).all()
    np.testing.assert_array_equal(prior.correlation, prior.correlation.T)
    assert (np.diag(prior.correlation) == 0).all()
    # By hand, one question at a time.
    model, levels = open_policy(stages.policy), np.array([float(level) for level in ANSWER_LEVELS])
    features = cases.features
    for i, j in [(0, 1), (2, n - 1)]:
        question = correlation_question(features[i], features[j], cases.task)
        answer = model.continuation_probabilities([question], ["<answer>"], ANSWER_LEVELS)[0] @ levels
        assert prior.correlation[j, i] == pytest.approx(answer, abs=1e-5)
    answer = model.continuation_probabilities(
        [relevance_question(features[1], cases.task)], ["<answer>"], ANSWER_LEVELS
    )
    assert prior.relevance[1] == pytest.approx(float(answer[0] @ levels), abs=1e-5)


def test_questions_name_features_and_task_and_no_case(stages, tmp_path: Path) -> None:
    feature = replace(stages.data.train.cases.features[0], label="Blood lactate", unit="mmol/L")
    other = replace(feature, label="pH", unit="1")
    relevance, correlation = relevance_question(feature, TASK), correlation_question(feature, other, TASK)
    assert "Blood lactate (mmol/L)" in relevance
    assert "a patient will die in hospital" in relevance
    assert "Blood lactate (mmol/L) and pH related" in correlation
    # Other cases of the same description give the same prior, to the bit.
    folders = [tmp_path / name for name in ("train", "held")]
    for folder, cases in zip(folders, (stages.data.train.cases, stages.held_out.cases), strict=True):
        folder.mkdir()
        elicit(StageRun({}, {"cases": cases, "policy": stages.policy}, 0, folder))
    assert len({(folder / "feature_prior.json").read_bytes() for folder in folders}) == 1


def test_statistics_of_a_window() -> None:
    nan = np.nan
    case = make_case({"a": [1.0, 5.0, 3.0, nan], "b": [nan] * 4}, times=[0.0, 12.0, 13.0, 40.0])
    table = statistics(make_cohort_cases([case], ("a", "b")), periods=4)[0]  # (K, F)
    # Of the part from 12 to 24 hours the last value is 3.
    assert dict(zip(STATISTICS, table[:, 0].tolist(), strict=True)) == {
        "mean": 2.0, "min": 1.0, "max": 3.0, "last": 3.0, "count": 2.0
    }  # fmt: skip
    assert np.isnan(table[:4, 1]).all()
    assert table[4, 1] == 0
    assert statistics(make_cohort_cases([], ("a", "b")), periods=4).shape == (0, 5, 2)


def test_smoothing_mixes_the_nearest_neighbours_with_their_sign() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=500)
    standardised = np.stack([x, -x + 0.1 * rng.normal(size=500), rng.normal(size=500), x], axis=1)[:, None]
    correlation = np.array([[0, 0.6, 0.2, 0.2], [0.6, 0, 0.1, 0.3], [0.2, 0.1, 0, 0], [0.2, 0.3, 0, 0]])
    (mixing,) = mixing_matrices(standardised, correlation, smoothing=0.4, neighbours=2)
    # Of the first: the second (0.6, opposite) and the third (0.2, before the fourth by order).
    sign = np.sign((standardised[:, 0, 0] * standardised[:, 0, 2]).sum())
    np.testing.assert_allclose(mixing[0], [0.6, -0.4 * 0.75, sign * 0.4 * 0.25, 0])
    np.testing.assert_allclose(np.abs(mixing).sum(axis=1), 1)
    alone = mixing_matrices(standardised, np.zeros((4, 4)), smoothing=0.4, neighbours=2)
    np.testing.assert_allclose(alone[0], np.eye(4))
    np.testing.assert_allclose(mixing_matrices(standardised, correlation, 0.0, 2)[0], np.eye(4))


def test_the_penalty_is_divided_by_the_relevance() -> None:
    weights = penalty_weights(np.array([0.2, 0.6]), n_static=1)
    # The head divides the penalty by the weight squared: rho, of mean 1, per statistic, and 1 for static facts.
    np.testing.assert_allclose(weights**2, [0.5, 1.5] * len(STATISTICS) + [1.0])


def fitted(data: TrainingData, prior: FeaturePrior, folder: Path, smoothing: float = 0.0) -> PriorExpert:
    folder.mkdir()
    prior.save(folder)
    run = StageRun(
        {"periods": 6, "smoothing": smoothing, "neighbours": 2}, {"training": data, "prior": folder}, 0, folder
    )
    fit_prior_expert(run)
    return PriorExpert.load(folder)


def test_a_right_prior_helps_and_a_wrong_one_hurts(tmp_path: Path) -> None:
    labelled = make_cases(900, {"lactate": 1.2, "ph": -1.2}, n_noise=20, seed=1)
    data = TrainingData(labelled.select(range(120)), labelled.select(range(120, 121)))
    asked = labelled.select(range(121, 900))
    names = labelled.cases.feature_names
    drives = np.array([name in ("lactate", "ph") for name in names])
    graph = np.zeros((len(names), len(names)))
    losses = {}
    for kind, relevance in {
        "right": np.where(drives, 0.95, 0.05),
        "none": np.full(len(names), 0.5),
        "wrong": np.where(drives, 0.05, 0.95),
    }.items():
        expert = fitted(data, FeaturePrior(names, relevance, graph), tmp_path / kind)
        losses[kind] = log_loss(asked.labels, expert.predict(asked.cases))
    assert losses["right"] < losses["none"] - 0.02
    assert losses["none"] < losses["wrong"] - 0.005


def test_what_training_always_had_is_average_where_it_is_missing(tmp_path: Path) -> None:
    """Nobody was measured less than twice, so never measured is not healthier than that."""
    labelled = more_often_measured_if_dying()
    cases = labelled.cases
    prior = FeaturePrior(cases.feature_names, np.full(2, 0.5), np.zeros((2, 2)))
    expert = fitted(TrainingData(labelled, labelled.select([])), prior, tmp_path / "expert")
    assert expert.predict(cases)[labelled.labels == 0].mean() < 0.1
    hidden = cases.with_items(
        [replace(c, values=np.where([True, False], np.nan, c.values).astype(np.float32)) for c in cases]
    )
    assert expert.predict(hidden).mean() == pytest.approx(0.5, abs=0.15)


def test_a_graph_fills_what_was_not_measured(tmp_path: Path) -> None:
    """A twin of the driver says what the driver would have said."""
    labelled = make_cases(600, {"lactate": 2.0}, n_noise=3, missing=0.0, seed=2)
    names = labelled.cases.feature_names
    items = []
    for case in labelled.cases:
        values = case.values.copy()
        values[:, 1] = -values[:, 0]  # noise_0 becomes the twin, upside down
        items.append(replace(case, values=values))
    cases = labelled.cases.with_items(items)
    data = TrainingData(replace(labelled, cases=cases).select(range(300)), replace(labelled, cases=cases).select([0]))
    graph = np.zeros((len(names), len(names)))
    graph[0, 1] = graph[1, 0] = 0.9
    # The twin's own coefficient is all but forbidden: without the graph it says nothing.
    relevance = np.where(np.arange(len(names)) == 1, 1e-6, 0.5)
    blind = []
    for case in cases.items[300:]:
        values = case.values.copy()
        values[:, 0] = np.nan
        blind.append(replace(case, values=values))
    asked = cases.with_items(blind)
    spread = {}
    for smoothing in (0.0, 0.5):
        expert = fitted(data, FeaturePrior(names, relevance, graph), tmp_path / str(smoothing), smoothing)
        logit = np.log(expert.predict(asked) / (1 - expert.predict(asked)))
        spread[smoothing] = np.corrcoef(logit, 2 * labelled.labels[300:] - 1)[0, 1]
    assert spread[0.5] > 0.5
    assert abs(spread[0.0]) < 0.2


def test_columns_are_found_by_name_and_the_file_gives_it_back(stages, tmp_path: Path) -> None:
    cases = stages.held_out.cases
    n = len(cases.features)
    prior = FeaturePrior(cases.feature_names, np.linspace(0.1, 0.9, n), np.full((n, n), 0.5) - 0.5 * np.eye(n))
    expert = fitted(stages.data, prior, tmp_path / "expert", 0.25)
    before = expert.predict(cases)
    assert before.std() > 0.05
    turned = cases.with_items(
        [replace(case, features=case.features[::-1], values=case.values[:, ::-1].copy()) for case in cases]
    )
    np.testing.assert_array_equal(expert.predict(turned), before)
    assert expert.predict(cases.select([])).shape == (0,)
    (tmp_path / "again").mkdir()
    expert.save(tmp_path / "again")
    np.testing.assert_array_equal(PriorExpert.load(tmp_path / "again").predict(cases), before)
