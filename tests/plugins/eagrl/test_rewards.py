"""Rewards against values worked out by hand from the formulas of the paper (METHOD section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from math import log, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from eagbench.api import Case, Cases, ComparesPatients, Trajectory
from eagbench_plugins.eagrl.rewards.attention_mass import AttentionMassReward
from eagbench_plugins.eagrl.rewards.brier import BrierReward
from eagbench_plugins.eagrl.rewards.citation_jaccard import CitationJaccardReward
from eagbench_plugins.eagrl.rewards.classification import ClassificationReward
from eagbench_plugins.eagrl.rewards.eag import EAGReward
from eagbench_plugins.eagrl.rewards.parts import expert_features, jaccard
from tests.builders import make_cohort_cases

NAMES = ("a", "b", "c", "d", "e", "f", "g", "unseen")
CASE = Case(
    "c", "c", NAMES, np.array([1.0]), np.array([[1, 2, 3, 4, 5, 6, 7, np.nan]], np.float32), {"age": 50.0, "sex": 1.0}
)
# By weight among the observed: g, f, e, d, then a before b (equal weights, canonical order). `unseen` is the heaviest.
SALIENCE = {"a": 0.05, "b": 0.05, "c": 0.0, "d": 0.1, "e": 0.1, "f": 0.15, "g": 0.2, "unseen": 0.35}
EXPERT = {"g", "f", "d", "e", "a"}


ATTENTION = {"a": 0.5, "g": 0.3, "unseen": 0.2}


def trajectory(
    probability: float | None, cited: tuple[str, ...] | None = (), attention: Mapping[str, float] | None = ATTENTION
) -> Trajectory:
    return Trajectory("c", "text", (), cited, 0, probability, 10, attention)


def eag(**params) -> EAGReward:
    return EAGReward(EAGReward.Params(**params))


def test_the_experts_features_are_the_top_k_among_those_observed_ties_in_canonical_order() -> None:
    assert expert_features(CASE, SALIENCE, 5) == ("g", "f", "d", "e", "a")
    assert expert_features(CASE, SALIENCE, 99) == ("g", "f", "d", "e", "a", "b", "c")


def test_jaccard_by_hand() -> None:
    assert jaccard(["a", "b", "b"], ["b", "c"]) == pytest.approx(1 / 3)
    assert jaccard([], []) == 0
    assert jaccard(["a"], []) == 0
    # Citing everything has a price: 5 of 29 is METHOD's 0.17.
    assert jaccard(range(29), range(5)) == pytest.approx(5 / 29)


@pytest.mark.parametrize(
    ("label", "p", "expected"),
    [
        (1, 0.8, log(0.8) + 0.5 * 0.3),
        (1, 0.3, log(0.3)),
        (0, 0.3, log(0.7) + 0.5 * 0.2),
        (0, 0.8, log(0.2)),
        (1, 0.5, log(0.5)),
        (0, 0.5, log(0.5)),
        (1, 0.0, log(0.01)),
        (1, 1.0, log(0.99) + 0.5 * 0.49),
        (0, 1.0, log(0.01)),
        (0, 0.0, log(0.99) + 0.5 * 0.49),
    ],
)
def test_classification_by_hand(label: int, p: float, expected: float) -> None:
    parts = ClassificationReward(ClassificationReward.Params())(CASE, label, trajectory(p), None)
    assert parts["classification"] == pytest.approx(expected, abs=1e-12)
    assert parts["total"] == parts["classification"]
    assert eag()(CASE, label, trajectory(p), SALIENCE)["classification"] == pytest.approx(expected, abs=1e-12)


def test_the_papers_preset_by_hand() -> None:
    # Two of three cited are the expert's: |{g, f}| / |{g, f, d, e, a, b}| = 2/6.
    parts = eag()(CASE, 1, trajectory(0.8, ("g", "f", "b")), SALIENCE)
    assert parts["attention"] == pytest.approx(2 / 6)
    assert parts["total"] == pytest.approx(0.6 * (log(0.8) + 0.15) + 0.4 * 2 / 6)
    assert set(parts) == {"classification", "attention", "unparsed", "total"}
    weighted = eag(weight=0.9, beta=1.0, k=2)(CASE, 1, trajectory(0.8, ("g", "f", "b")), SALIENCE)
    assert weighted["total"] == pytest.approx(0.9 * (log(0.8) + 0.3) + 0.1 * 2 / 3)


def test_the_released_codes_preset_by_hand() -> None:
    parts = eag(preset="released_code")(CASE, 0, trajectory(0.1, tuple(EXPERT)), SALIENCE)
    assert parts["total"] == pytest.approx(log(0.9) + 0.5 * 0.4 + 0.1 * 1.0)


def test_weight_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(ValidationError, match="released_code"):
        EAGReward.Params(preset="released_code", weight=0.5)
    with pytest.raises(ValidationError):
        EAGReward.Params(weight=1.5)


def test_brier_and_attention_by_hand() -> None:
    brier = BrierReward(BrierReward.Params())
    assert brier(CASE, 1, trajectory(0.7), None)["total"] == pytest.approx(1 - 0.09)
    assert brier(CASE, 0, trajectory(0.7), None)["total"] == pytest.approx(1 - 0.49)
    attention = CitationJaccardReward(CitationJaccardReward.Params(k=2))
    assert attention(CASE, 0, trajectory(0.7, ("g",)), SALIENCE)["total"] == pytest.approx(0.5)
    assert attention(CASE, 0, trajectory(0.7, None), SALIENCE)["total"] == 0


REWARDS = {
    "paper": eag(),
    "classification only": eag(weight=1.0),
    "attention only": eag(weight=0.0),
    "released_code": eag(preset="released_code"),
    "classification": ClassificationReward(ClassificationReward.Params()),
    "citation_jaccard": CitationJaccardReward(CitationJaccardReward.Params()),
    "brier": BrierReward(BrierReward.Params()),
    "attention_mass": AttentionMassReward(AttentionMassReward.Params()),
    "attention mass only": AttentionMassReward(AttentionMassReward.Params(classification_weight=0.0)),
}


@pytest.mark.parametrize("reward", REWARDS.values(), ids=REWARDS)
@given(
    label=st.sampled_from([0, 1]),
    p=st.floats(0, 1),
    cited=st.lists(st.sampled_from(NAMES), unique=True),
    cited_unparsed=st.lists(st.sampled_from(NAMES), unique=True),
)
def test_an_unparsed_answer_gets_less_than_any_parsed_one_whatever_it_cites(
    reward, label: int, p: float, cited: list[str], cited_unparsed: list[str]
) -> None:
    parsed = reward(CASE, label, trajectory(p, tuple(cited)), SALIENCE)
    unparsed = reward(CASE, label, trajectory(None, tuple(cited_unparsed)), SALIENCE)
    assert unparsed["total"] < parsed["total"]
    assert all(np.isfinite(value) for value in (*parsed.values(), *unparsed.values()))


def test_attention_mass_by_hand() -> None:
    case = Case("c", "c", ("a", "b", "unseen"), np.array([1.0]), np.array([[1, 2, np.nan]], np.float32), {})
    reward = REWARDS["attention_mass"]
    # Over a and b: attention (1, 0), salience (1/2, 1/2); JSD = H(3/4, 1/4) - (0 + 1)/2.
    divergence = -(0.75 * log2(0.75) + 0.25 * log2(0.25)) - 0.5
    salience = {"a": 0.3, "b": 0.3, "unseen": 0.4}
    parts = reward(case, 1, trajectory(0.8, attention={"a": 0.4, "unseen": 0.6}), salience)
    assert parts["attention"] == pytest.approx(1 - divergence**0.5)
    assert parts["classification"] == pytest.approx(log(0.8) + 0.5 * 0.3)
    assert parts["total"] == pytest.approx(0.6 * parts["classification"] + 0.4 * parts["attention"])
    assert reward(case, 1, trajectory(0.8, attention={"a": 0.1, "b": 0.1}), salience)["attention"] == pytest.approx(1)
    assert reward(case, 1, trajectory(0.8, attention={"unseen": 1.0}), salience)["attention"] == 0
    assert reward(case, 1, trajectory(0.8, attention={}), salience)["attention"] == 0
    with pytest.raises(ValueError, match="not measured"):
        reward(case, 1, trajectory(0.8, attention=None), salience)
    pure = REWARDS["attention mass only"](case, 1, trajectory(0.8, attention={"b": 1.0}), salience)
    assert pure["total"] == pure["attention"]


@given(p=st.floats(0, 1), q=st.floats(0, 1))
def test_brier_is_proper(p: float, q: float) -> None:
    """No answer is expected to earn more than the true probability does."""
    reward = REWARDS["brier"]

    def expected(answer: float) -> float:
        return sum(w * reward(CASE, y, trajectory(answer), None)["total"] for y, w in ((1, p), (0, 1 - p)))

    assert expected(p) >= expected(q) - 1e-12


@pytest.mark.parametrize("name", ["paper", "citation_jaccard", "attention_mass"])
def test_a_reward_that_needs_an_expert_says_so_and_never_goes_without(name: str) -> None:
    assert REWARDS[name].traits.needs_salience
    with pytest.raises(ValueError, match="salience"):
        REWARDS[name](CASE, 1, trajectory(0.5), None)


def five_cases() -> tuple[Cases, dict[str, dict[str, float]], dict[str, float]]:
    """Four patients with the list g, f and one with a, b, in whom g was not measured; one risk for all."""
    values = np.arange(1.0, 9.0, dtype=np.float32)[None]
    items = [Case(f"p{i}", f"p{i}", NAMES, np.array([1.0]), values, {}) for i in range(4)]
    without_g = np.where(np.array(NAMES) == "g", np.nan, values).astype(np.float32)
    items.append(Case("q", "q", NAMES, np.array([1.0]), without_g, {}))
    usual = {name: {"g": 0.5, "f": 0.3}.get(name, 0.02) for name in NAMES}
    own = {name: {"a": 0.5, "b": 0.4}.get(name, 0.01) for name in NAMES}
    salience = {case.case_id: usual for case in items[:4]} | {"q": own}
    return make_cohort_cases(items, NAMES, ()), salience, dict.fromkeys(salience, 0.3)


@pytest.mark.parametrize("name", ["citation_jaccard", "eag"])
def test_beyond_the_controls_what_fits_everybody_earns_nothing(name: str) -> None:
    made = {"citation_jaccard": CitationJaccardReward, "eag": EAGReward}[name]
    reward = made(made.Params(k=2, beyond_controls=True))
    cases, salience, risk = five_cases()
    reward.fit(cases, salience, risk)

    def earned(at: int, *cited: str) -> float:
        case = cases[at]
        return reward(case, 1, trajectory(0.8, cited), salience[case.case_id])["attention"]

    assert earned(0, "g", "f") == 0  # it fits everybody but one
    assert earned(4, "a", "b") == 1
    # In q the frequent list is f and the next most frequent that was measured, a: 1 of 3.
    assert earned(4, "a", "f") == 0
    assert earned(4, "a") == pytest.approx((1 / 2 - 1 / 3) / (1 - 1 / 3))
    unread = reward(cases[4], 1, trajectory(None, ("a", "b")), salience["q"])
    assert unread["attention"] == 0


def test_the_controls_are_off_by_default_and_need_the_training_cases() -> None:
    cases, salience, risk = five_cases()
    for made in (CitationJaccardReward, EAGReward):
        plain, fitted = made(made.Params(k=2)), made(made.Params(k=2))
        fitted.fit(cases, salience, risk)
        given = (cases[0], 1, trajectory(0.8, ("g", "f")), salience["p0"])
        assert plain(*given) == fitted(*given)
        assert plain(*given)["attention"] == 1
        unfitted = made(made.Params(k=2, beyond_controls=True))
        assert isinstance(unfitted, ComparesPatients)
        with pytest.raises(ValueError, match="`fit` did not see it"):
            unfitted(*given)
