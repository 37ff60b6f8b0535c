"""Tests that are lost because a method answered nothing, and those that are lost for another reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from eagbench.analysis.comparisons import GRID, PRIMARY, Claim, SeedMeans, compare, correct_families
from eagbench.analysis.evaluation import evaluate, evaluate_subgroups
from eagbench.analysis.silent_methods import LostTests
from eagbench.analysis.transfer import gaps
from tests.core.analysis.test_comparisons import CLEAN, INTERVALS, METRICS, TRAITS, made_predictions, means_of

CHANGED = ("missing_values", 0.5)
WORSE = ("missing_values", 0.8)
CLAIM = Claim("a", "auroc")


def lost(means: dict[Any, SeedMeans], silent: set[Any]) -> list[Any]:
    return LostTests([CLEAN, CHANGED], means, silent, TRAITS).differences(CLAIM, ["b", "c"])


def means(*keys: tuple[str, Any]) -> dict[Any, SeedMeans]:
    return {key: means_of([made_predictions(1.0 + i, 0)]) for i, key in enumerate(keys)}


def test_a_silent_baseline_counts_in_holms_family() -> None:
    found = means(("a", CLEAN), ("b", CLEAN))
    rows = compare(CLAIM, ["b", "c"], [CLEAN], found, TRAITS, 0.95)
    rows += lost(found, {("c", CLEAN)})
    correct_families(rows)
    primary = {row["baseline"]: row for row in rows if row["family"] == PRIMARY}
    expected = multipletests([primary["b"]["p_value"], 1.0], method="holm")[1]
    assert [primary[name]["p_corrected"] for name in ("b", "c")] == pytest.approx(list(expected))
    assert np.isnan(primary["c"]["difference"])
    assert [row["metric"] for row in rows if row["family"] == GRID and row["baseline"] == "c"] == ["brier"]


def test_the_tested_method_may_be_the_silent_one() -> None:
    rows = lost(means(("b", CLEAN), ("c", CLEAN)), {("a", CLEAN)})
    assert [(row["baseline"], row["metric"]) for row in rows] == [
        (baseline, metric) for metric in ("auroc", "brier") for baseline in ("b", "c")
    ]
    both = lost({}, {("a", CLEAN), ("b", CLEAN)})
    assert [(row["baseline"], row["metric"]) for row in both] == [("b", "auroc"), ("b", "brier")]


def test_a_cell_that_failed_leaves_no_row() -> None:
    assert lost(means(("a", CLEAN)), set()) == []
    assert lost({}, {("b", CLEAN)}) == []


def test_a_number_that_the_other_method_lacks_leaves_no_row() -> None:
    found = means(("a", CLEAN))
    undefined = SeedMeans({"auroc": float("nan"), "brier": 0.1}, found["a", CLEAN].draws)
    assert [row["metric"] for row in lost({("a", CLEAN): undefined}, {("b", CLEAN)})] == ["brier"]


def test_degradations_over_several_severities_are_tests_as_well() -> None:
    found = means(("a", CLEAN), ("a", CHANGED), ("b", CLEAN), ("b", CHANGED), ("b", WORSE))
    rows = LostTests([CLEAN, CHANGED, WORSE], found, {("a", WORSE)}, TRAITS).degradations("a", ["b"])
    assert [(row["summary"], row["severity"], row["metric"], row["baseline"]) for row in rows] == [
        (summary, severity, metric, baseline)
        for summary, severity in (("degradation", 0.8), ("area_degradation", None))
        for metric in ("auroc", "brier")
        for baseline in ("", "b")
    ]
    assert {row["p_value"] for row in rows} == {1.0}
    one_severity = LostTests([CLEAN, WORSE], found, {("a", WORSE)}, TRAITS).degradations("a", [])
    assert {row["summary"] for row in one_severity} == {"degradation"}


def test_a_gap_of_a_silent_model_counts_without_a_row() -> None:
    pairs = [("x", "x"), ("y", "y"), ("x", "y")]
    holds = {name: frozenset({name}) for name in "xy"}
    places = [(method, *pair) for method in ("a", "b") for pair in pairs]
    found = {place: means_of([made_predictions(2.0 / (1 + i), 0)]) for i, place in enumerate(places)}
    rows = gaps(["a", "b"], pairs, holds, found, TRAITS, 0.95)
    silent = {**found, ("b", "x", "y"): SeedMeans({}, {})}
    fewer = gaps(["a", "b"], pairs, holds, silent, TRAITS, 0.95)
    assert [row["method"] for row in fewer] == ["a", "a"]
    of_a = [row["p_value"] for row in rows if row["method"] == "a"]
    assert [row["p_value"] for row in fewer] == of_a
    expected = multipletests([*of_a, 1.0, 1.0], method="fdr_bh")[1][:2]
    assert [row["p_corrected"] for row in fewer] == pytest.approx(list(expected))


def unread(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "parsed": False, "probability": 0.3} for row in rows]


def test_without_an_answer_there_are_no_numbers() -> None:
    rows = made_predictions(1.0, 0)
    assert evaluate(unread(rows), METRICS, INTERVALS).points == {}
    one_read = [*unread(rows[:-1]), rows[-1]]
    assert {"auroc", "auroc:parsed_only", "auroc:worst_case"} <= evaluate(one_read, METRICS, INTERVALS).points.keys()


def test_a_silent_subgroup_has_no_numbers_either() -> None:
    rows = made_predictions(1.0, 0)
    parts = {"silent": unread(rows[:60]), "other": rows[60:]}
    members = {name: frozenset(row["case_id"] for row in part) for name, part in parts.items()}
    minimum = {"minimum_cases": 1, "minimum_positive": 1}
    found = evaluate_subgroups([*parts["silent"], *parts["other"]], members, METRICS, INTERVALS, minimum)
    assert (found["silent"].points, found["silent"].n_unparsed) == ({}, 60)
    assert found["other"].points
