"""The correction for the prior of training: Bayes' rule, checked against the rule itself and against a simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from eagbench.prompting.prior import LearntPrior, read_prior, write_prior

SHARE = st.floats(0.01, 0.99)


@given(st.floats(0.001, 0.999), SHARE, SHARE)
def test_the_log_odds_move_by_the_difference_of_the_priors(p: float, learnt: float, population: float) -> None:
    corrected = LearntPrior(learnt, population).corrected(p)
    assert corrected is not None
    assert logit(corrected) == pytest.approx(logit(p) - logit(learnt) + logit(population), abs=1e-6)


@given(st.floats(0, 1), SHARE, SHARE)
def test_it_leads_back_and_leaves_certainty_alone(p: float, learnt: float, population: float) -> None:
    there = LearntPrior(learnt, population).corrected(p)
    assert there is not None
    assert 0 <= there <= 1
    assert LearntPrior(population, learnt).corrected(there) == pytest.approx(p, abs=1e-9)
    assert LearntPrior(learnt, learnt).corrected(p) == pytest.approx(p, abs=1e-12)
    assert (LearntPrior(learnt, population).corrected(0.0), LearntPrior(learnt, population).corrected(1.0)) == (0, 1)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), SHARE, SHARE)
def test_the_order_of_answers_stays(answers: list[float], learnt: float, population: float) -> None:
    prior = LearntPrior(learnt, population)
    corrected = [prior.corrected(p) or 0.0 for p in sorted(answers)]
    assert np.diff(corrected).min() >= -1e-12


@pytest.mark.parametrize("learnt", [0.0, 1.0])
def test_nothing_leads_back_from_one_class_alone(learnt: float) -> None:
    assert LearntPrior(learnt, 0.2).corrected(0.5) is None


def test_a_model_taught_on_balanced_cases_is_calibrated_again() -> None:
    """Independent of the formula: a logistic model on balanced cases against one on cases as they come."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60_000, 1))
    y = rng.random(60_000) < expit(-2.5 + 1.5 * x[:, 0])
    train, test = np.arange(30_000), np.arange(30_000, 60_000)
    positive = train[y[train]]
    negative = rng.choice(train[~y[train]], len(positive), replace=False)
    balanced = np.concatenate([positive, negative])
    answers = LogisticRegression().fit(x[balanced], y[balanced]).predict_proba(x[test])[:, 1]
    prior = LearntPrior(float(np.mean(y[balanced])), float(np.mean(y[train])))
    corrected = np.array([prior.corrected(p) for p in answers])
    natural = LogisticRegression().fit(x[train], y[train]).predict_proba(x[test])[:, 1]
    assert np.abs(answers - natural).mean() > 0.15
    assert np.abs(corrected - natural).mean() < 0.01
    assert corrected.mean() == pytest.approx(y[test].mean(), abs=0.01)


def test_the_file_counts_repeats_and_is_absent_where_no_answer_was_taught(tmp_path: Path) -> None:
    assert read_prior(tmp_path) is None
    write_prior(tmp_path, [1, 1, 1, 0], np.array([0, 0, 0, 0, 1]))
    assert json.loads((tmp_path / "prior.json").read_text()) == {"learnt": 0.75, "population": 0.2}
    assert read_prior(tmp_path) == LearntPrior(0.75, 0.2)
