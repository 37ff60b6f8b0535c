"""Every metric against scikit-learn (or plain loops) on the repeated sample, and against hand-made answers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.components import Metric
from eagbench.contracts.records import FloatArray
from eagbench.metrics import plugin
from eagbench.metrics.attention import CitationJaccard
from eagbench.metrics.calibration import (
    Brier,
    BrierReliability,
    BrierResolution,
    BrierSkill,
    BrierUncertainty,
    CalibrationIntercept,
    CalibrationSlope,
    ExpectedCalibrationError,
)
from eagbench.metrics.discrimination import Auprc, Auroc
from eagbench.metrics.unparsed import UnparsedRate


def scored_cases(probability, label, parsed=None, cited=None, reference=None) -> ScoredCases:
    probability = np.asarray(probability, dtype=float)
    parsed = np.ones(len(probability), dtype=bool) if parsed is None else np.asarray(parsed, dtype=bool)
    return ScoredCases(probability, np.asarray(label, dtype=int), parsed, cited, reference)


def point(metric: Metric, scored: ScoredCases) -> float:
    return float(metric(scored, np.ones((1, len(scored.label))))[0])


def naive_ece(label: FloatArray, probability: FloatArray, bins: int) -> float:
    """The definition, bin by bin, without any shared code."""
    total = 0.0
    for k in range(bins):
        above = probability >= k / bins
        below = probability < (k + 1) / bins if k < bins - 1 else probability <= 1
        inside = above & below
        if inside.any():
            total += inside.mean() * abs(label[inside].mean() - probability[inside].mean())
    return total


REFERENCES = {
    Auroc: roc_auc_score,
    Auprc: average_precision_score,
    Brier: brier_score_loss,
    ExpectedCalibrationError: lambda y, p: naive_ece(y, p, 10),
}
NEEDS_BOTH_CLASSES = (Auroc, Auprc)

# Few distinct values, so that nearly every case is tied with others, the edges of the ECE bins among them.
COARSE = st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0])
FINE = st.floats(0.0, 1.0, allow_nan=False)


@st.composite
def samples(draw):
    cases = draw(st.integers(1, 30))
    values = draw(st.sampled_from([COARSE, FINE]))
    probability = np.array(draw(st.lists(values, min_size=cases, max_size=cases)))
    label = np.array(draw(st.lists(st.integers(0, 1), min_size=cases, max_size=cases)))
    rows = draw(st.integers(1, 4))
    counts = draw(st.lists(st.integers(0, 4), min_size=rows * cases, max_size=rows * cases))
    return probability, label, np.array(counts, dtype=float).reshape(rows, cases)


@pytest.mark.parametrize("metric", REFERENCES, ids=lambda m: m.name)
@settings(max_examples=300, deadline=None)
@given(sample=samples())
def test_each_row_equals_the_reference_on_the_repeated_cases(metric, sample):
    probability, label, weights = sample
    values = metric(metric.Params())(scored_cases(probability, label), weights)
    assert values.shape == (len(weights),)
    for value, row in zip(values, weights, strict=True):
        drawn = np.repeat(np.arange(len(label)), row.astype(int))
        undefined = len(drawn) == 0 or (metric in NEEDS_BOTH_CLASSES and len(set(label[drawn])) < 2)
        if undefined:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(REFERENCES[metric](label[drawn], probability[drawn]), abs=1e-12)


@pytest.mark.parametrize("metric", [Auroc, Auprc, Brier], ids=lambda m: m.name)
@pytest.mark.parametrize("levels", [7, None], ids=["ten levels", "continuous"])
def test_each_row_equals_scikit_learn_with_sample_weights_on_many_cases(metric, levels):
    rng = np.random.default_rng(3)
    label = (rng.random(3000) < 0.1).astype(int)
    probability = np.clip(0.1 + 0.2 * label + 0.2 * rng.normal(size=3000), 0, 1)
    if levels:
        probability = np.round(probability * levels) / levels
    weights = rng.poisson(1.0, size=(25, 3000)).astype(float)
    values = metric(metric.Params())(scored_cases(probability, label), weights)
    expected = [REFERENCES[metric](label, probability, sample_weight=row) for row in weights]
    np.testing.assert_allclose(values, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("metric", REFERENCES, ids=lambda m: m.name)
def test_rows_do_not_depend_on_their_number(metric, monkeypatch):
    rng = np.random.default_rng(0)
    scored = scored_cases(rng.random(50), rng.integers(0, 2, 50))
    weights = rng.poisson(1.0, size=(40, 50)).astype(float)
    whole = metric(metric.Params())(scored, weights)
    monkeypatch.setattr("eagbench.stats.weighted.CHUNK_ELEMENTS", 150)  # three rows at a time, and one left over
    np.testing.assert_allclose(metric(metric.Params())(scored, weights), whole, atol=1e-15, rtol=0)
    np.testing.assert_allclose(metric(metric.Params())(scored, weights[7:8]), whole[7:8], atol=1e-14, rtol=0)


@pytest.mark.parametrize("metric", [*REFERENCES, UnparsedRate], ids=lambda m: m.name)
def test_no_cases_is_undefined(metric):
    empty = scored_cases([], [])
    assert np.isnan(metric(metric.Params())(empty, np.ones((2, 0)))).all()


def test_known_answers():
    # Four positives and four negatives by hand: 13.5 of 16 pairs are in order, one of them a tie.
    probability = [0.9, 0.8, 0.7, 0.4, 0.7, 0.3, 0.2, 0.1]
    label = [1, 1, 1, 0, 0, 1, 0, 0]
    scored = scored_cases(probability, label)
    assert point(Auroc(Auroc.Params()), scored) == (4 + 4 + 3.5 + 2) / 16
    # Thresholds 0.9, 0.8, 0.7 (one positive, one negative), 0.3.
    assert point(Auprc(Auprc.Params()), scored) == pytest.approx(0.25 * (1 + 1 + 3 / 4 + 4 / 6))
    assert point(Brier(Brier.Params()), scored_cases([0.5, 1.0], [1, 0])) == 0.625


def test_ece_of_calibrated_groups_is_zero_and_of_a_constant_shift_is_the_shift():
    label = np.array([1, 0, 0, 0, 0, 1, 1, 1, 1, 0])
    calibrated = np.array([0.2] * 5 + [0.8] * 5)
    ece = ExpectedCalibrationError(ExpectedCalibrationError.Params())
    assert point(ece, scored_cases(calibrated, label)) == pytest.approx(0, abs=1e-15)
    assert point(ece, scored_cases(calibrated + 0.05, label)) == pytest.approx(0.05)


def test_ece_bins_are_closed_on_the_left_and_the_last_holds_one():
    # 0.1 lies in the second bin, so it is not averaged with 0.09: the gaps add up and do not cancel.
    ece = ExpectedCalibrationError(ExpectedCalibrationError.Params())
    assert point(ece, scored_cases([0.09, 0.1], [1, 0])) == pytest.approx((0.91 + 0.1) / 2)
    assert point(ece, scored_cases([0.95, 1.0], [1, 0])) == pytest.approx(abs(-0.05 + 1.0) / 2)
    one_bin = ExpectedCalibrationError(ExpectedCalibrationError.Params(bins=1))
    assert point(one_bin, scored_cases([0.0, 1.0], [1, 0])) == 0.0


def test_citation_jaccard_by_hand():
    cited = (frozenset({"a", "b"}), frozenset(), frozenset(), frozenset({"a"}))
    reference = (frozenset({"b", "c"}), frozenset({"a"}), frozenset(), frozenset({"a"}))
    scored = scored_cases([0.5] * 4, [0, 1, 0, 1], cited=cited, reference=reference)
    metric = CitationJaccard(CitationJaccard.Params())
    assert point(metric, scored) == pytest.approx((1 / 3 + 0 + 0 + 1) / 4)
    assert metric(scored, np.array([[3.0, 0, 1, 2]]))[0] == pytest.approx((3 / 3 + 2) / 6)


@pytest.mark.parametrize("missing", ["cited", "reference"])
def test_citation_jaccard_needs_both_lists(missing):
    lists = {"cited": (frozenset({"a"}),), "reference": (frozenset({"a"}),)}
    lists[missing] = None
    metric = CitationJaccard(CitationJaccard.Params())
    assert np.isnan(metric(scored_cases([0.5], [1], **lists), np.ones((3, 1)))).all()


def test_unparsed_rate():
    scored = scored_cases([0.1] * 4, [0, 0, 0, 1], parsed=[True, False, True, True])
    values = UnparsedRate(UnparsedRate.Params())(scored, np.array([[1.0, 1, 1, 1], [0, 2, 1, 1], [1, 0, 0, 0]]))
    np.testing.assert_allclose(values, [0.25, 0.5, 0.0])


def test_no_warning_on_degenerate_samples():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in REFERENCES:
            metric(metric.Params())(scored_cases([0.5, 0.5], [1, 1]), np.array([[0.0, 0], [1, 0]]))


def test_the_plugin_registers_every_metric_once():
    registered = []
    plugin.register_metrics(registered.append)
    names = [metric.name for metric in registered]
    assert sorted(names) == [
        "alignment_over_best_control", "alignment_over_constant", "alignment_over_other_patient",
        "alignment_over_refilled_constant", "alignment_over_refilled_other_patient", "alignment_over_similar_risk",
        "attention_mass", "attention_mass_over_other_patient", "auprc", "auroc", "brier", "brier_reliability",
        "brier_resolution", "brier_skill", "brier_uncertainty", "calibration_intercept", "calibration_slope",
        "citation_comprehensiveness", "citation_comprehensiveness_over_baseline",
        "citation_comprehensiveness_over_control", "citation_comprehensiveness_removal",
        "citation_comprehensiveness_removal_over_control", "citation_jaccard", "citation_reread_noise",
        "citation_sufficiency", "citation_sufficiency_over_baseline", "citation_sufficiency_over_control",
        "citation_sufficiency_removal", "citation_sufficiency_removal_over_control", "cited_features", "ece",
        "too_long", "unparsed_rate",
    ]  # fmt: skip
    for metric in registered:
        assert isinstance(metric(metric.Params()), Metric)


def test_the_parts_of_the_brier_score_add_up_where_answers_are_alike_within_bins() -> None:
    rng = np.random.default_rng(0)
    p = rng.choice([0.05, 0.15, 0.35, 0.95], 400)
    label = (rng.random(400) < 0.1 + 0.6 * p).astype(int)
    scored = scored_cases(p, label)
    weights = rng.multinomial(400, np.full(400, 1 / 400), 5).astype(float)
    reliability, resolution, uncertainty = (
        m(m.Params())(scored, weights) for m in (BrierReliability, BrierResolution, BrierUncertainty)
    )
    np.testing.assert_allclose(
        reliability - resolution + uncertainty, Brier(Brier.Params())(scored, weights), atol=1e-12
    )
    row = np.repeat(np.arange(400), weights[0].astype(int))
    by_hand = sum((p[row] == v).mean() * (v - label[row][p[row] == v].mean()) ** 2 for v in np.unique(p[row]))
    assert reliability[0] == pytest.approx(by_hand)
    rate = label[row].mean()
    assert uncertainty[0] == pytest.approx(rate * (1 - rate))


def test_brier_skill_is_one_for_the_truth_and_zero_for_the_event_rate() -> None:
    label = np.array([0, 0, 0, 1])
    for probability, skill in (([0.0, 0, 0, 1], 1.0), ([0.25] * 4, 0.0), ([1.0, 1, 1, 0], 1 - 16 / 3)):
        assert point(BrierSkill(BrierSkill.Params()), scored_cases(np.array(probability), label)) == pytest.approx(
            skill
        )
    assert np.isnan(point(BrierSkill(BrierSkill.Params()), scored_cases(np.full(4, 0.2), np.zeros(4, int))))


@settings(max_examples=100, deadline=None)
@given(sample=samples())
def test_the_parts_of_the_brier_score_differ_from_it_by_the_spread_within_bins(sample) -> None:
    """Stephenson, Coelho and Jolliffe 2008, equation 12: + variance of p within bins - 2 covariance with y."""
    probability, label, weights = sample
    scored = scored_cases(probability, label)
    parts = [m(m.Params())(scored, weights) for m in (BrierReliability, BrierResolution, BrierUncertainty)]
    brier = Brier(Brier.Params())(scored, weights)
    for i, row in enumerate(weights):
        chosen = np.repeat(np.arange(len(label)), row.astype(int))
        p, y = probability[chosen], label[chosen]
        bins = np.minimum(np.digitize(p, np.arange(1, 10) / 10), 9)
        within = sum(
            ((p[bins == k] - p[bins == k].mean()) * ((p - 2 * y)[bins == k] - (p - 2 * y)[bins == k].mean())).sum()
            for k in np.unique(bins)
        )
        expected = np.nan if not len(chosen) else brier[i] - within / len(chosen)
        assert parts[0][i] - parts[1][i] + parts[2][i] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_calibration_slope_and_intercept_equal_statsmodels() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(4)
    truth = rng.beta(1, 5, 800)
    label = (rng.random(800) < truth).astype(int)
    stretched = 1 / (1 + np.exp(-(0.5 + 1.6 * np.log(truth / (1 - truth)))))
    scored = scored_cases(stretched, label)
    x = np.log(stretched / (1 - stretched))
    slope = sm.Logit(label, sm.add_constant(x)).fit(disp=0).params[1]
    assert point(CalibrationSlope(CalibrationSlope.Params()), scored) == pytest.approx(slope, abs=1e-6)
    assert slope == pytest.approx(1 / 1.6, abs=0.1)
    large = sm.GLM(label, np.ones(800), family=sm.families.Binomial(), offset=x).fit().params[0]
    intercept = CalibrationIntercept(CalibrationIntercept.Params())
    assert point(intercept, scored) == pytest.approx(large, abs=1e-6)
    assert point(intercept, scored_cases(truth, label)) == pytest.approx(0, abs=0.25)
