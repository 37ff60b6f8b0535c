"""The head: a planted signal, the objective as written, the penalty's choice, folds by patient, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from eagbench.api import UserError
from eagbench_plugins.baselines.logistic_head import LogisticHead
from eagbench_plugins.baselines.penalised_logistic import INVERSE_PENALTIES, NotConvergedError


def planted(n: int, coefficient: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    columns = rng.normal(3.0, 2.0, size=(n, len(coefficient)))
    log_odds = (columns - 3.0) / 2.0 @ coefficient
    labels = (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    return columns, labels, [f"p{i}" for i in range(n)]


def test_it_recovers_a_planted_signal() -> None:
    truth = np.array([1.5, -1.0, 0.0, 0.0, 0.5])
    columns, labels, patients = planted(4000, truth)
    head = LogisticHead.fit(columns, np.ones(5), labels, patients, seed=0)
    np.testing.assert_allclose(head.coefficient, truth, atol=0.12)
    fresh, outcomes, _ = planted(2000, truth, seed=1)
    assert roc_auc_score(outcomes, head.predict(fresh)) > 0.8


def test_it_minimises_what_its_page_says() -> None:
    columns, labels, _ = planted(200, np.array([1.0, -1.0, 0.5]))
    weights, c = np.array([2.0, 1.0, 0.3]), 0.05
    z = (columns - columns.mean(axis=0)) / columns.std(axis=0)

    def objective(b: np.ndarray) -> float:
        margin = (2 * labels - 1) * (b[0] + z @ b[1:])
        return float(np.logaddexp(0, -margin).sum() + ((b[1:] / weights) ** 2).sum() / (2 * c))

    best = minimize(objective, np.zeros(4), tol=1e-10).x
    head = LogisticHead.fit_with(c, columns, weights, labels)
    np.testing.assert_allclose([head.intercept, *head.coefficient], best, atol=1e-3)


def test_noise_is_penalised_and_signal_is_not() -> None:
    noise, labels, patients = planted(300, np.zeros(40))
    signal, outcomes, _ = planted(3000, np.full(3, 2.0))
    of_noise = LogisticHead.fit(noise, np.ones(40), labels, patients, seed=0)
    of_signal = LogisticHead.fit(signal, np.ones(3), outcomes, [str(i) for i in range(3000)], seed=0)
    assert of_noise.inverse_penalty <= 0.01 < of_signal.inverse_penalty
    for head in (of_noise, of_signal):
        assert set(head.log_loss) == set(INVERSE_PENALTIES)
        assert head.log_loss[head.inverse_penalty] == min(head.log_loss.values())


def test_a_penalty_whose_fit_does_not_converge_is_not_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sklearn.linear_model

    whole = sklearn.linear_model.LogisticRegression
    columns, labels, patients = planted(3000, np.full(3, 2.0))
    weak = LogisticHead.fit(columns, np.ones(3), labels, patients, seed=0).inverse_penalty

    def hasty(C: float, **options: Any) -> Any:
        return whole(C=C, **(options | {"max_iter": 1} if weak <= C else options))

    monkeypatch.setattr(sklearn.linear_model, "LogisticRegression", hasty)
    head = LogisticHead.fit(columns, np.ones(3), labels, patients, seed=0)
    assert head.inverse_penalty < weak
    assert np.isinf(head.log_loss[weak])
    head.save(tmp_path)
    assert LogisticHead.load(tmp_path).log_loss == head.log_loss
    with pytest.raises(UserError, match="did not converge in 1 iterations"):
        LogisticHead.fit_with(weak, columns, np.ones(3), labels)


def test_a_penalty_that_converges_in_the_folds_alone_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, labels, patients = planted(3000, np.full(3, 2.0))
    whole = LogisticHead.fit_with.__func__  # type: ignore[attr-defined]
    best = LogisticHead.fit(columns, np.ones(3), labels, patients, seed=0).inverse_penalty

    def on_all(cls: Any, c: float, cases: Any, *rest: Any) -> LogisticHead:
        if c == best and len(cases) == len(columns):
            raise NotConvergedError("did not converge", where="here", hint="there")
        return whole(cls, c, cases, *rest)

    monkeypatch.setattr(LogisticHead, "fit_with", classmethod(on_all))
    head = LogisticHead.fit(columns, np.ones(3), labels, patients, seed=0)
    second = sorted(head.log_loss, key=lambda c: (head.log_loss[c], c))[1]
    assert head.inverse_penalty == second != best


def test_cases_of_one_patient_never_stand_on_both_sides() -> None:
    # Every patient has ten equal cases, and the columns tell patients apart and nothing else: folds by case would see
    # a perfect predictor and choose the weakest penalty.
    rng = np.random.default_rng(0)
    columns = np.repeat(rng.normal(size=(60, 80)), 10, axis=0)
    labels = np.repeat(rng.integers(2, size=60), 10)
    by_patient = LogisticHead.fit(columns, np.ones(80), labels, [f"p{i // 10}" for i in range(600)], seed=0)
    by_case = LogisticHead.fit(columns, np.ones(80), labels, [f"p{i}" for i in range(600)], seed=0)
    assert by_patient.inverse_penalty < by_case.inverse_penalty
    assert min(by_patient.log_loss.values()) > 0.6 > 0.1 > min(by_case.log_loss.values())


def test_a_constant_column_counts_for_nothing() -> None:
    columns, labels, patients = planted(300, np.array([1.0, 1.0]))
    columns[:, 1] = 7.0
    head = LogisticHead.fit(columns, np.ones(2), labels, patients, seed=0)
    changed = columns.copy()
    changed[:, 1] = 1e6
    np.testing.assert_array_equal(head.predict(changed), head.predict(columns))


def test_its_file_gives_it_back_to_the_bit(tmp_path) -> None:
    columns, labels, patients = planted(200, np.array([1.0, -1.0, 0.0]))
    columns[:, 2] = 1.0
    head = LogisticHead.fit(columns, np.ones(3), labels, patients, seed=0)
    head.save(tmp_path)
    loaded = LogisticHead.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict(columns), head.predict(columns))
    assert loaded.log_loss == head.log_loss
    assert loaded.inverse_penalty == head.inverse_penalty


def test_one_outcome_alone_is_refused() -> None:
    columns, _, patients = planted(50, np.zeros(2))
    with pytest.raises(UserError, match="one outcome has 0 patients"):
        LogisticHead.fit(columns, np.ones(2), np.zeros(50, np.int64), patients, seed=0)
