from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from eagbench.analysis.evaluation import unparsed_variants
from eagbench.contracts.answers import ScoredCases
from eagbench.metrics.calibration import Brier
from eagbench.metrics.discrimination import Auroc
from eagbench.metrics.unparsed import TooLong


def sample() -> tuple[ScoredCases, np.ndarray]:
    rng = np.random.default_rng(5)
    label = rng.integers(0, 2, 200)
    parsed = rng.random(200) < 0.7
    probability = np.where(parsed, rng.random(200) * 0.5 + 0.4 * label, 0.5)
    cited = tuple(frozenset({f"f{i}"}) for i in range(200))
    return ScoredCases(probability, label, parsed, cited, cited), rng.poisson(1.0, (6, 200)).astype(float)


def test_without_unparsed_answers_there_is_nothing_to_vary():
    scored, _ = sample()
    everything = ScoredCases(scored.probability, scored.label, np.ones(200, dtype=bool))
    assert unparsed_variants(everything) == {}


def test_parsed_only_equals_weight_zero_for_the_unparsed():
    scored, weights = sample()
    variant = unparsed_variants(scored)["parsed_only"]
    values = Auroc(Auroc.Params())(variant.scored, weights[:, variant.columns])
    np.testing.assert_allclose(values, Auroc(Auroc.Params())(scored, weights * scored.parsed), atol=1e-15)
    assert variant.scored.parsed.all()
    kept = [i for i in range(200) if scored.parsed[i]]
    assert variant.scored.cited == tuple(scored.cited[i] for i in kept)
    assert variant.scored.reference == tuple(scored.reference[i] for i in kept)


def test_worst_case_counts_each_unparsed_answer_as_confidently_wrong():
    scored, weights = sample()
    variant = unparsed_variants(scored)["worst_case"]
    wrong = [p if ok else 1.0 - y for p, ok, y in zip(scored.probability, scored.parsed, scored.label, strict=True)]
    values = Auroc(Auroc.Params())(variant.scored, weights[:, variant.columns])
    expected = [roc_auc_score(scored.label, wrong, sample_weight=row) for row in weights]
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_a_policy_that_never_answers():
    label = np.array([0, 0, 0, 1])
    scored = ScoredCases(np.full(4, 0.25), label, np.zeros(4, dtype=bool))
    variants = unparsed_variants(scored)
    ones = np.ones((1, 4))
    brier = Brier(Brier.Params())
    assert brier(scored, ones)[0] == pytest.approx(0.1875)  # would look as good as knowing the prevalence
    parsed_only, worst = variants["parsed_only"], variants["worst_case"]
    assert np.isnan(brier(parsed_only.scored, ones[:, parsed_only.columns])).all()
    assert brier(worst.scored, ones[:, worst.columns])[0] == 1.0
    assert Auroc(Auroc.Params())(worst.scored, ones)[0] == 0.0


def test_the_share_of_prompts_that_were_too_long():
    columns = {"too_long": np.array([1.0, np.nan, np.nan, 1.0])}
    scored = ScoredCases(np.full(4, 0.25), np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0], dtype=bool), columns=columns)
    weights = np.array([[1.0, 1, 1, 1], [2, 0, 1, 0]])
    np.testing.assert_allclose(TooLong(TooLong.Params())(scored, weights), [0.5, 2 / 3])
