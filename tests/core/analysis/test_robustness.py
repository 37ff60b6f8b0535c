"""robustness.csv: every summary by hand, on the same resamples as the metrics themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import brier_score_loss, roc_auc_score
from statsmodels.stats.multitest import multipletests

from eagbench.analysis.comparisons import SeedMeans, seed_means
from eagbench.analysis.evaluation import evaluate
from eagbench.analysis.metric_uses import MetricUse, traits_by_name
from eagbench.analysis.robustness import area, correct_degradations, robustness
from eagbench.analysis.scored_table import SCORED_SCHEMA, answered
from eagbench.stats.bootstrap import patient_weights
from eagbench.stats.paired import bootstrap_p_value

METRICS = [MetricUse.registered(name, {}) for name in ("auroc", "brier", "cited_features")]
TRAITS = traits_by_name(METRICS)
INTERVALS = {"resamples": 200, "level": 0.95, "seed": 0}
CLEAN, MILD, STRONG = ("clean", None), ("missing_values", 0.2), ("missing_values", 0.6)
CONDITIONS = [CLEAN, MILD, STRONG]
N = 90
FEATURES = tuple("abcdefgh")
Key = tuple[str, tuple[str, float | None]]


def made(method: str, seed: int, condition: tuple[str, float | None], skill: float, *, cites: bool) -> list[Any]:
    """Scored rows; two cases per patient at times; the labels and the expert's lists are everybody's."""
    label = np.random.default_rng(1).random(N) < 0.35
    fixed = np.random.default_rng([3, len(method)])
    latent = fixed.normal(size=N)
    loss = condition[1] or 0.0
    rng = np.random.default_rng([seed, round(10 * loss), len(method), 5])
    p = 1 / (1 + np.exp(-(skill * (1 - loss) * label + latent + 0.3 * rng.normal(size=N) - 0.5)))
    empty: dict[str, Any] = dict.fromkeys(SCORED_SCHEMA.names)
    rows = []
    for i in range(N):
        stable = list(np.random.default_rng([i, len(method)]).permutation(FEATURES)[:3])
        cited = stable if rng.random() > loss else list(rng.permutation(FEATURES)[:3])
        teacher = list(np.random.default_rng([i, 99]).permutation(FEATURES)[:3])
        rows.append(
            {**empty, "case_id": f"c{i:03d}", "patient_id": f"p{i // 2:03d}", "fold": 0, "probability": float(p[i])}
            | {"parsed": True, "label": int(label[i])}
            | {"cited_features": cited if cites else None, "teacher_features": teacher}
        )
    return rows


METHODS = {"eag": 2.2, "base": 0.8, "experts": 1.6}
ROWS: dict[Key, list[list[Any]]] = {
    (method, condition): [made(method, seed, condition, skill, cites=method != "experts") for seed in (0, 1)]
    for method, skill in METHODS.items()
    for condition in CONDITIONS
}


def means_of(rows_by_seed: list[list[Any]]) -> SeedMeans:
    found = [evaluate(rows, METRICS, INTERVALS) for rows in rows_by_seed]
    return seed_means(found, [answered(rows) for rows in rows_by_seed])


@pytest.fixture(scope="module")
def means() -> dict[Key, SeedMeans]:
    return {key: means_of(rows) for key, rows in ROWS.items()}


@pytest.fixture(scope="module")
def table(means: dict[Key, SeedMeans]) -> list[dict[str, Any]]:
    return robustness(TRAITS, list(METHODS), CONDITIONS, means, INTERVALS, "eag")


def one(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    wanted = {"baseline": "", **wanted}
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row


def over_seeds(method: str, condition: tuple[str, float | None], metric: Callable[[Any, Any], float]) -> float:
    return float(
        np.mean(
            [metric([r["label"] for r in rows], [r["probability"] for r in rows]) for rows in ROWS[(method, condition)]]
        )
    )


@pytest.mark.parametrize(("metric", "score", "sign"), [("auroc", roc_auc_score, 1), ("brier", brier_score_loss, -1)])
def test_degradation_is_what_is_lost_in_the_metrics_own_direction(table, metric, score, sign) -> None:
    clean, mild, strong = (over_seeds("eag", condition, score) for condition in CONDITIONS)
    row = one(table, summary="degradation", metric=metric, method="eag", severity=0.6)
    assert row["value"] == pytest.approx(sign * (clean - strong), abs=1e-12)
    assert row["value"] > 0
    percent = one(table, summary="degradation_percent", metric=metric, method="eag", severity=0.6)
    assert percent["value"] == pytest.approx(100 * sign * (clean - strong) / clean)
    # Trapezoids over 0, 0.2, 0.6, divided by 0.6.
    mean = (0.2 * (clean + mild) / 2 + 0.4 * (mild + strong) / 2) / 0.6
    assert one(table, summary="area", metric=metric, method="eag")["value"] == pytest.approx(mean)
    lost = one(table, summary="area_degradation", metric=metric, method="eag")
    assert lost["value"] == pytest.approx(sign * (clean - mean))
    assert (lost["condition"], lost["severity"], lost["n_conditions"]) == ("missing_values", None, 3)


def test_intervals_come_from_joint_resamples_of_the_patients(table) -> None:
    patients = [r["patient_id"] for r in ROWS[("eag", CLEAN)][0]]
    weights = patient_weights(patients, 200, 0)

    def loss(condition: tuple[str, float | None], w: np.ndarray) -> float:
        return float(
            np.mean(
                [
                    brier_score_loss([r["label"] for r in rows], [r["probability"] for r in rows], sample_weight=w)
                    for rows in ROWS[("eag", condition)]
                ]
            )
        )

    draws = [loss(STRONG, w) - loss(CLEAN, w) for w in weights]
    row = one(table, summary="degradation", metric="brier", method="eag", severity=0.6)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=1e-9)
    assert row["standard_error"] == pytest.approx(np.std(draws, ddof=1))
    assert row["p_value"] == pytest.approx(bootstrap_p_value(np.array(draws)))  # the tested method's own loss
    assert np.isnan(
        one(table, summary="degradation", metric="brier", method="base", severity=0.6, baseline="")["p_value"]
    )


def test_the_worst_case_is_the_worst_condition_of_each_case(table) -> None:
    def losses(method: str, seed: int, condition: tuple[str, float | None]) -> np.ndarray:
        return np.array([(r["probability"] - r["label"]) ** 2 for r in ROWS[(method, condition)][seed]])

    def worst(method: str, seed: int) -> np.ndarray:
        return np.max([losses(method, seed, condition) for condition in CONDITIONS], axis=0)

    expected = np.mean([worst("eag", seed).mean() for seed in (0, 1)])
    row = one(table, summary="worst_case", method="eag")
    assert (row["metric"], row["condition"], row["n_conditions"]) == ("brier", "all", 3)
    assert row["value"] == pytest.approx(expected)
    lost = {m: np.mean([(worst(m, s) - losses(m, s, CLEAN)).mean() for s in (0, 1)]) for m in METHODS}
    assert one(table, summary="worst_case_degradation", method="base")["value"] == pytest.approx(lost["base"])
    pair = one(table, summary="worst_case_degradation", method="eag", baseline="base")
    assert pair["value"] == pytest.approx(lost["eag"] - lost["base"])
    assert row["value"] > over_seeds("eag", STRONG, brier_score_loss)  # no single condition is as bad for everybody


def test_a_method_that_met_fewer_conditions_is_compared_over_the_shared_ones(means) -> None:
    fewer = {key: value for key, value in means.items() if key != ("base", STRONG)}
    rows = robustness(TRAITS, list(METHODS), CONDITIONS, fewer, INTERVALS, "eag")
    assert one(rows, summary="worst_case", method="base")["n_conditions"] == 2
    pair = one(rows, summary="worst_case_degradation", method="eag", baseline="base")
    assert pair["n_conditions"] == 2
    over_both = [
        np.mean([np.maximum(a, b) - a for a, b in zip(*sides, strict=True)])
        for sides in (
            [[(s.scored.probability - s.scored.label) ** 2 for s in means[(m, c)].answers] for c in (CLEAN, MILD)]
            for m in ("eag", "base")
        )
    ]
    assert pair["value"] == pytest.approx(over_both[0] - over_both[1])
    # A curve with a hole has no area, and two methods are too few to be ranked.
    assert not [row for row in rows if row["summary"].startswith("area") and row["method"] == "base"]
    assert not [row for row in rows if row["summary"] == "rank_agreement" and row["severity"] == 0.6]


def test_rank_agreement_is_kendalls_tau_of_the_methods(table) -> None:
    for metric, score in (("auroc", roc_auc_score), ("brier", brier_score_loss)):
        clean, strong = ([over_seeds(m, c, score) for m in METHODS] for c in (CLEAN, STRONG))
        row = one(table, summary="rank_agreement", metric=metric, severity=0.6)
        assert row["value"] == pytest.approx(kendalltau(clean, strong).statistic)
        assert (row["method"], row["n_methods"]) == ("all", 3)
        assert -1 <= row["ci_low"] <= row["ci_high"] <= 1


def test_losses_and_differences_between_them_are_one_family(table) -> None:
    tested = [row for row in table if not np.isnan(row["p_value"])]
    # Two metrics: two severities and the area, of the method's own loss and less two others'; and the worst case.
    assert len(tested) == 2 * 3 * 3 + 2
    assert {row["method"] for row in tested} == {"eag"}
    correct_degradations(table)
    expected = multipletests([row["p_value"] for row in tested], method="fdr_bh")[1]
    assert [row["p_corrected"] for row in tested] == pytest.approx(list(expected))
    assert {row["correction"] for row in table if np.isnan(row["p_value"])} == {""}
    pair = one(tested, summary="degradation", metric="auroc", severity=0.2, baseline="base")
    both = [one(table, summary="degradation", metric="auroc", severity=0.2, method=m)["value"] for m in ("eag", "base")]
    assert pair["value"] == pytest.approx(both[0] - both[1])
    assert pair["smallest_detectable"] == pytest.approx(2.8 * pair["standard_error"])


def jaccard(a: list[str], b: list[str]) -> float:
    return len({*a} & {*b}) / len({*a} | {*b})


def test_citations_under_stress(table) -> None:
    def overlap(method: str, column: str) -> float:
        pairs = zip(ROWS[(method, CLEAN)], ROWS[(method, STRONG)], strict=True)
        return float(np.mean([[jaccard(a[column], b[column]) for a, b in zip(*p, strict=True)] for p in pairs]))

    row = one(table, summary="citation_overlap", method="eag", severity=0.6)
    assert row["value"] == pytest.approx(overlap("eag", "cited_features"))
    assert one(table, summary="citation_overlap", method="eag", severity=0.2)["value"] > row["value"]
    excess = one(table, summary="citation_overlap_over_other_patient", method="eag", severity=0.6)
    others = []
    for clean, changed in zip(ROWS[("eag", CLEAN)], ROWS[("eag", STRONG)], strict=True):
        for i, own in enumerate(clean):
            apart = [
                jaccard(own["cited_features"], b["cited_features"]) for j, b in enumerate(changed) if j // 2 != i // 2
            ]
            others.append(jaccard(own["cited_features"], changed[i]["cited_features"]) - np.mean(apart))
    assert excess["value"] == pytest.approx(np.mean(others))
    assert one(table, summary="teacher_overlap", severity=0.6)["value"] == 1  # the expert's lists are the same
    assert not [r for r in table if r["summary"] == "citation_overlap" and r["method"] == "experts"]


def test_alignment_and_change_is_spearmans_rho_over_cases(table) -> None:
    rhos = []
    for clean, changed in zip(ROWS[("eag", CLEAN)], ROWS[("eag", STRONG)], strict=True):
        alignment = [jaccard(r["cited_features"], r["teacher_features"]) for r in clean]
        change = [abs(a["probability"] - b["probability"]) for a, b in zip(clean, changed, strict=True)]
        rhos.append(spearmanr(alignment, change).statistic)
    row = one(table, summary="alignment_and_change", method="eag", severity=0.6)
    assert row["value"] == pytest.approx(np.mean(rhos))
    assert row["ci_low"] < row["value"] < row["ci_high"]


def test_attention_under_stress() -> None:
    def rows(shift: float) -> list[Any]:
        made_ = made("eag", 0, CLEAN, 1.0, cites=True)
        return [{**r, "attention": [("a", 0.5 + shift), ("b", 0.5 - shift)]} for r in made_]

    shifts = {CLEAN: 0.0, MILD: 0.0, STRONG: 0.5}
    made_means = {("eag", condition): means_of([rows(shift)]) for condition, shift in shifts.items()}
    found = robustness(TRAITS, ["eag"], CONDITIONS, made_means, INTERVALS)
    assert one(found, summary="attention_likeness", severity=0.2)["value"] == pytest.approx(1, abs=1e-6)
    half = np.array([[0.5, 0.5], [1.0, 0.0]])
    middle = half.mean(axis=0)
    divergence = np.mean([sum(p * np.log2(p / m) for p, m in zip(row, middle, strict=True) if p) for row in half])
    assert one(found, summary="attention_likeness", severity=0.6)["value"] == pytest.approx(1 - np.sqrt(divergence))


def test_attention_stays_on_the_case_beyond_what_other_patients_attention_has_in_common_with_it() -> None:
    rng = np.random.default_rng(4)
    looks = {key: rng.dirichlet(np.ones(4), size=N) for key in (CLEAN, STRONG)}
    own = made("eag", 0, CLEAN, 1.0, cites=True)

    def rows(weights: np.ndarray) -> list[Any]:
        return [
            {**r, "attention": list(zip("abcd", map(float, w), strict=True))} for r, w in zip(own, weights, strict=True)
        ]

    def excess(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
        pair = {("eag", CLEAN): means_of([rows(before)]), ("eag", STRONG): means_of([rows(after)])}
        found = robustness(TRAITS, ["eag"], [CLEAN, STRONG], pair, INTERVALS)
        return one(found, summary="attention_likeness_over_other_patient")

    def by_loops(before: np.ndarray, after: np.ndarray) -> float:
        like = [[1 - jensenshannon(a, b, base=2) for b in before] for a in after]
        others = [np.mean([like[j][i] for j in range(N) if j // 2 != i // 2]) for i in range(N)]
        return float(np.mean(np.diag(like)) - np.mean(others))

    row = excess(looks[CLEAN], looks[STRONG])
    assert row["value"] == pytest.approx(by_loops(looks[CLEAN], looks[STRONG]), abs=1e-6)
    assert row["ci_low"] < 0 < row["ci_high"]  # drawn apart
    assert excess(looks[CLEAN], looks[CLEAN])["ci_low"] > 0.1
    everybody = np.tile(looks[CLEAN][:1], (N, 1))
    assert excess(everybody, everybody)["value"] == 0  # it stays, because it is the same for all


def test_nothing_changes_nothing(means) -> None:
    same = {(m, c): means[(m, CLEAN)] for m in METHODS for c in CONDITIONS}
    rows = robustness(TRAITS, list(METHODS), CONDITIONS, same, INTERVALS, "eag")
    for row in rows:
        if "degradation" in row["summary"]:
            assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((0, 0, 0), abs=1e-12)
            assert np.isnan(row["p_value"])
    assert {row["value"] for row in rows if row["summary"] == "rank_agreement"} == {1}
    assert {row["value"] for row in rows if row["summary"] == "citation_overlap"} == {1}
    assert not [row for row in rows if row["summary"] == "alignment_and_change"]  # nothing moved: undefined


def test_the_area_below_one_severity_is_the_same_test_as_its_end(means) -> None:
    fewer = {key: value for key, value in means.items() if key[1] != STRONG}
    rows = robustness(TRAITS, list(METHODS), [c for c in CONDITIONS if c != STRONG], fewer, INTERVALS, "eag")
    correct_degradations(rows)
    by_summary = {
        summary: one(rows, summary=summary, metric="auroc", method="eag", baseline="base")
        for summary in ("degradation", "area_degradation")
    }
    end, below = by_summary.values()
    assert below["value"] == pytest.approx(end["value"] / 2)
    assert (below["test"], below["p_value"], below["p_corrected"]) == (end["test"], end["p_value"], end["p_corrected"])
    tested = {(row["baseline"], row["test"]): row for row in rows if not np.isnan(row["p_value"])}
    assert len(tested) == 2 * 3 + 2  # not twice as many
    expected = multipletests([row["p_value"] for row in tested.values()], method="fdr_bh")[1]
    assert [row["p_corrected"] for row in tested.values()] == pytest.approx(list(expected))


def test_without_perturbations_there_is_nothing_to_say(means) -> None:
    assert robustness(TRAITS, list(METHODS), [CLEAN], means, INTERVALS, "eag") == []


def test_the_area_is_normalised() -> None:
    assert area(np.array([[0.8, 0.8, 0.8], [1.0, 0.5, 0.0]]), np.array([0.0, 2.0, 4.0])) == pytest.approx([0.8, 0.5])


def test_with_few_patients_with_the_event_only_numbers_without_a_metric_have_intervals() -> None:
    few = {
        key: [[{**row, "label": int(row["patient_id"] < "p004")} for row in rows] for rows in of_seeds]
        for key, of_seeds in ROWS.items()
    }
    rows = robustness(
        TRAITS, list(METHODS), CONDITIONS, {key: means_of(of_key) for key, of_key in few.items()}, INTERVALS, "eag"
    )
    of_metric = {row["summary"] for row in rows if row["metric"] in {"auroc", "brier"}}
    assert {"degradation", "area", "worst_case_degradation"} <= of_metric
    for row in rows:
        if row["metric"] in {"auroc", "brier"} and row["summary"] != "rank_agreement":
            assert np.isfinite(row["value"])
            assert np.isnan([row["ci_low"], row["ci_high"], row["p_value"]]).all(), row
    assert np.isfinite(one(rows, summary="citation_overlap", method="eag", severity=0.6)["ci_low"])
