from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from eagbench.analysis.intervals import metric_interval
from eagbench.contracts.answers import ScoredCases
from eagbench.metrics.calibration import Brier
from eagbench.metrics.discrimination import Auroc
from eagbench.stats import bootstrap as module
from eagbench.stats.bootstrap import (
    bootstrap,
    logit_interval,
    patient_weights,
    percentile_interval,
    percentile_intervals,
    weight_blocks,
)
from tests.conftest import ROOT

SEPARATION = 1.2  # between the two classes' scores, in standard deviations
TRUE_AUROC = float(norm.cdf(SEPARATION / np.sqrt(2)))


def binormal(rng: np.random.Generator, cases: int) -> ScoredCases:
    label = (rng.random(cases) < 0.3).astype(int)
    score = rng.normal(size=cases) + SEPARATION * label
    return ScoredCases(1 / (1 + np.exp(-score)), label, np.ones(cases, dtype=bool))


def true_brier() -> float:
    """Expected squared error of one case of `binormal`, by quadrature."""
    score = np.linspace(-12, 14, 200_001)
    probability = 1 / (1 + np.exp(-score))
    negative = np.trapezoid(norm.pdf(score) * probability**2, score)
    positive = np.trapezoid(norm.pdf(score, loc=SEPARATION) * (1 - probability) ** 2, score)
    return float(0.7 * negative + 0.3 * positive)


def test_each_resample_draws_as_many_patients_as_there_are():
    weights = patient_weights([f"p{i}" for i in range(40)], 300, seed=1)
    assert weights.shape == (300, 40)
    assert weights.dtype == np.float64
    assert (weights.sum(axis=1) == 40).all()
    # The share of patients left out of a resample is (1 - 1/n)^n.
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 40) ** 40, abs=0.01)
    # Binomial counts: mean 1, variance 1 - 1/n.
    assert weights.var() == pytest.approx(1 - 1 / 40, abs=0.03)


def test_cases_of_a_patient_come_together():
    patients = ["b", "a", "c", "a", "b", "a"]
    weights = patient_weights(patients, 200, seed=0)
    np.testing.assert_array_equal(weights[:, 1], weights[:, 3])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 5])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 4])
    assert (weights[:, [0, 1, 2]].sum(axis=1) == 3).all()


def test_resamples_do_not_depend_on_the_order_or_number_of_cases():
    rng = np.random.default_rng(0)
    patients = np.array([f"p{i:03d}" for i in range(60)])
    weights = patient_weights(patients, 50, seed=7)
    order = rng.permutation(60)
    np.testing.assert_array_equal(patient_weights(patients[order], 50, seed=7), weights[:, order])
    twice = patient_weights([*patients, *patients], 50, seed=7)
    np.testing.assert_array_equal(twice, np.hstack([weights, weights]))
    assert not np.array_equal(patient_weights(patients, 50, seed=8), weights)


def test_blocks_are_bounded_and_hold_the_same_rows(monkeypatch):
    patients = [f"p{i % 30}" for i in range(75)]
    whole = patient_weights(patients, 41, seed=3)
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 4 * 75)
    blocks = list(weight_blocks(patients, 41, seed=3))
    assert [len(block) for block in blocks] == [4] * 10 + [1]
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    # An odd number of draws per row, where a generator that buffers half a word could fall out of step.
    odd = [f"p{i}" for i in range(31)]
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 31)
    in_ones = np.concatenate(list(weight_blocks(odd, 9, seed=3)))
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 10_000)
    np.testing.assert_array_equal(patient_weights(odd, 9, seed=3), in_ones)


@pytest.mark.parametrize(("patients", "resamples"), [([], 10), (["a"], 0)])
def test_nothing_to_resample(patients, resamples):
    with pytest.raises(ValueError, match="resample"):
        patient_weights(patients, resamples, seed=0)


def test_equal_to_a_loop_that_repeats_cases_and_calls_scikit_learn():
    rng = np.random.default_rng(2)
    scored = binormal(rng, 300)
    patients = np.array([f"p{i // 2}" for i in range(300)])  # two cases each
    rows: list[float] = []
    for row in patient_weights(patients, 60, seed=4):
        chosen = np.repeat(np.arange(300), row.astype(int))
        rows.append(roc_auc_score(scored.label[chosen], scored.probability[chosen]))
    metric = Auroc(Auroc.Params())
    values = bootstrap(lambda weights: metric(scored, weights), patients, 60, seed=4)
    np.testing.assert_allclose(values, rows, atol=1e-12)
    low, high = percentile_interval(values, 0.9)
    np.testing.assert_allclose([low, high], np.quantile(rows, [0.05, 0.95]), atol=1e-12)


def test_several_statistics_at_once(monkeypatch):
    scored = binormal(np.random.default_rng(2), 80)
    patients = [str(i) for i in range(80)]
    metrics = (Auroc(Auroc.Params()), Brier(Brier.Params()))
    single = [bootstrap(lambda w, m=m: m(scored, w), patients, 33, seed=4) for m in metrics]
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 800)
    both = bootstrap(lambda w: np.stack([m(scored, w) for m in metrics]), patients, 33, seed=4)
    np.testing.assert_allclose(both, single, atol=1e-14)


def test_percentile_interval_leaves_out_undefined_resamples():
    values = np.concatenate([np.arange(101.0), np.full(101, np.nan)])
    assert percentile_interval(values, 0.9) == pytest.approx((5.0, 95.0))
    more_undefined = np.append(values, np.nan)
    assert np.isnan(percentile_interval(more_undefined, 0.9)).all()
    assert np.isnan(percentile_interval(np.full(10, np.nan), 0.9)).all()
    assert np.isnan(percentile_interval(np.empty(0), 0.9)).all()


@pytest.mark.parametrize("level", [0.0, 1.0, 95, float("nan")])
def test_level_must_be_a_share(level):
    with pytest.raises(ValueError, match="level"):
        percentile_interval(np.arange(5.0), level)


def test_duplicated_patients_do_not_narrow_the_interval():
    """Each patient four times is no more evidence than once: resampling cases would halve the width."""
    scored = binormal(np.random.default_rng(0), 200)
    patients = np.array([f"p{i}" for i in range(200)])
    copies = ScoredCases(np.tile(scored.probability, 4), np.tile(scored.label, 4), np.ones(800, dtype=bool))
    metric = Auroc(Auroc.Params())

    def width(cases: ScoredCases, units) -> float:
        low, high = percentile_interval(bootstrap(lambda w: metric(cases, w), units, 1000, seed=0), 0.95)
        return high - low

    once = width(scored, patients)
    clustered = width(copies, np.tile(patients, 4))
    by_case = width(copies, [f"c{i}" for i in range(800)])
    assert clustered == pytest.approx(once, abs=1e-12)
    assert by_case == pytest.approx(once / 2, rel=0.15)


def test_the_logit_interval_is_normal_on_the_scale_of_log_odds():
    rng = np.random.default_rng(0)
    draws = 1 / (1 + np.exp(-rng.normal(1.4, 0.3, 4000)))
    value = 1 / (1 + np.exp(-1.4))
    low, high = logit_interval(value, draws, 0.95, 1e-4)
    expected = 1 / (1 + np.exp(-(1.4 + np.array([-1.959964, 1.959964]) * np.std(np.log(draws / (1 - draws)), ddof=1))))
    assert (low, high) == pytest.approx(tuple(expected), abs=1e-9)
    # It stays inside (0, 1), takes a draw of 1 for half a pair less, and leaves out undefined draws.
    some = np.append(draws[:50], [1.0, np.nan])
    low, high = logit_interval(value, some, 0.95, 1e-3)
    assert 0 < low < value < high < 1
    assert logit_interval(value, some, 0.95, 1e-6)[1] > high
    assert np.isnan(logit_interval(1.0, draws, 0.95, 1e-3)).all()
    assert np.isnan(logit_interval(value, np.full(10, np.nan), 0.95, 1e-3)).all()


def test_only_an_auroc_has_another_interval():
    draws = np.random.default_rng(0).uniform(0.6, 0.9, 500)
    asked = {"level": 0.95, "auroc": "logit"}
    percentile = percentile_interval(draws, 0.95)
    for name in ("auroc", "auroc:parsed_only", "auroc@recalibrated"):
        assert metric_interval(name, 0.75, draws, asked, 100, 20) == logit_interval(0.75, draws, 0.95, 0.5 / 1600)
    assert metric_interval("brier", 0.75, draws, asked, 100, 20) == percentile
    assert metric_interval("auroc", 0.75, draws, {"level": 0.95, "auroc": "percentile"}, 100, 20) == percentile
    assert metric_interval("auroc", 0.75, draws, {"level": 0.95}, 100, 20) == percentile


@pytest.mark.slow
@pytest.mark.parametrize("cases", [200, 1000])
def test_at_ten_percent_events_intervals_hold_the_truth_in_93_to_97_percent_of_samples(cases):
    """2,000 samples: standard error 0.5 points. The percentile interval of the AUROC needs more than 20 events."""
    spec = importlib.util.spec_from_file_location("coverage", ROOT / "scripts" / "coverage.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    held = {name: 1 - low - high for name, (low, high) in script.simulate(cases, 2000, 1000, 0.1).items()}
    assert 0.93 <= held["auroc logit"] <= 0.97
    assert 0.93 <= held["brier percentile"] <= 0.97
    if cases >= 1000:
        assert 0.93 <= held["auroc percentile"] <= 0.97


def coverage(samples: int, resamples: int) -> tuple[float, float]:
    rng = np.random.default_rng(11)
    auroc, brier, expected_brier = Auroc(Auroc.Params()), Brier(Brier.Params()), true_brier()
    patients = [str(i) for i in range(200)]
    covered = np.zeros(2)
    for sample in range(samples):
        scored = binormal(rng, 200)
        values = bootstrap(lambda w, s=scored: np.stack([auroc(s, w), brier(s, w)]), patients, resamples, seed=sample)
        for i, truth in enumerate((TRUE_AUROC, expected_brier)):
            low, high = percentile_interval(values[i], 0.95)
            covered[i] += low <= truth <= high
    return tuple(covered / samples)


def test_intervals_cover_the_truth_nearly_as_often_as_they_say():
    # 400 samples: the standard error of a coverage of 0.95 is 0.011.
    assert all(0.91 <= share <= 0.98 for share in coverage(samples=400, resamples=400))


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say():
    # 4,000 samples: standard error 0.0034. The percentile interval is known to be a little short at n = 200.
    assert all(0.93 <= share <= 0.96 for share in coverage(samples=4000, resamples=1000))


def test_intervals_computed_at_once_are_those_computed_alone():
    rng = np.random.default_rng(0)
    rows = [*rng.normal(size=(5, 400)), rng.normal(size=99), np.full(50, np.nan), np.empty(0), np.zeros(7)]
    rows[1][::9] = np.nan
    rows[2][:300] = np.nan
    found = percentile_intervals(rows, 0.95)
    for row, interval in zip(rows, found, strict=True):
        assert interval == pytest.approx(percentile_interval(row, 0.95), abs=0, nan_ok=True)
    for i in (0, 3, 4, 5):
        assert found[i] == tuple(np.quantile(rows[i], [(1 - 0.95) / 2, (1 + 0.95) / 2]))
    assert found[1] == tuple(np.quantile(rows[1][~np.isnan(rows[1])], [(1 - 0.95) / 2, (1 + 0.95) / 2]))
    assert np.isnan([found[2], found[6], found[7]]).all()
    assert percentile_intervals([], 0.95) == []


def test_draws_that_are_kept_are_the_ones_that_are_not(monkeypatch):
    """Whatever was drawn before, by whom, and however few may be kept."""
    patients = [f"p{i % 30}" for i in range(50)]
    whole = patient_weights(patients, 64, seed=5)
    patient_weights(patients[::-1], 64, seed=5)
    patient_weights(patients, 64, seed=6)
    np.testing.assert_array_equal(patient_weights(patients, 64, seed=5), whole)
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 50 * 7)
    for kept in (2**27, 0):
        monkeypatch.setattr(module, "_KEPT_COUNTS", kept)
        blocks = list(weight_blocks(patients, 64, seed=5))
        assert [len(block) for block in blocks] == [7] * 9 + [1]
        np.testing.assert_array_equal(np.concatenate(blocks), whole)
        with pytest.raises(ValueError, match="read-only"):
            blocks[0][0, 0] = 7
    with pytest.raises(ValueError, match="read-only"):
        next(weight_blocks(patients[:3], 4, seed=0))[0, 0] = 7
