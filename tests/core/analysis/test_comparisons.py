"""comparisons.csv: known answers on hand-made predictions, what is asked in the YAML, and a run on real records."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score
from statsmodels.stats.multitest import multipletests

from eagbench.analysis.comparisons import GRID, PRIMARY, Claim, SeedMeans, compare, correct_families, seed_means
from eagbench.analysis.evaluation import evaluate
from eagbench.analysis.metric_uses import MetricUse, traits_by_name
from eagbench.analysis.scored_table import SCORED_SCHEMA, answered
from eagbench.api import MethodTraits, Prediction, StrictParams
from eagbench.config.benchmark import ComparisonSpec
from eagbench.config.loading import load_benchmark
from eagbench.config.yaml_source import item_label, read_yaml
from eagbench.execution.stage_files import file_hash
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.registry.plugins import load_registry, registered
from eagbench.runs.schema import COMPARISON_COLUMNS
from eagbench.runs.verify.tables import _is_same
from eagbench.runs.verify.verify import verify
from eagbench.stats.bootstrap import patient_weights
from eagbench.stats.paired import bootstrap_p_value
from tests.conftest import Finished
from tests.core.runs.test_run import write_benchmark

METRICS = [MetricUse.registered("auroc", {}), MetricUse.registered("brier", {})]
TRAITS = traits_by_name(METRICS)
INTERVALS = {"resamples": 300, "level": 0.95, "seed": 0}
CLEAN = ("clean", None)


def made_predictions(skill: float, seed: int, n: int = 120, corrected: float | None = None) -> list[dict[str, Any]]:
    """Scored rows of n patients whose labels are the same for every method."""
    label = np.random.default_rng(7).random(n) < 0.3
    score = skill * label + np.random.default_rng([seed, round(100 * skill)]).normal(size=n)
    probability = 1 / (1 + np.exp(-score))
    empty: dict[str, Any] = dict.fromkeys(SCORED_SCHEMA.names)
    return [
        {**empty, "case_id": f"c{i:03d}", "patient_id": f"p{i:03d}", "fold": 0, "probability": float(p), "parsed": True}
        | {"label": int(label[i]), "prior_corrected": None if corrected is None else float(p) * corrected}
        for i, p in enumerate(probability)
    ]


def means_of(rows_by_seed: Sequence[list[dict[str, Any]]]) -> SeedMeans:
    found = [evaluate(rows, METRICS, INTERVALS) for rows in rows_by_seed]
    return seed_means(found)


def one(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row


def test_the_difference_is_that_of_scikit_learns_means_on_joint_resamples() -> None:
    mine, theirs = ([made_predictions(skill, seed) for seed in (0, 1)] for skill in (1.5, 0.5))
    means = {("a", CLEAN): means_of(mine), ("b", CLEAN): means_of(theirs)}
    rows = compare(Claim("a", "auroc"), ["b"], [CLEAN], means, TRAITS, 0.95)
    row = one(rows, family=PRIMARY)
    label = np.array([r["label"] for r in mine[0]])

    def auroc(predictions: list[dict[str, Any]], repeats: np.ndarray | None = None) -> float:
        p = np.array([r["probability"] for r in predictions])
        return float(roc_auc_score(label, p, sample_weight=repeats))

    expected = np.mean([auroc(m) for m in mine]) - np.mean([auroc(t) for t in theirs])
    assert row["difference"] == pytest.approx(expected, abs=1e-12)
    assert row["relative_percent"] == pytest.approx(100 * expected / np.mean([auroc(t) for t in theirs]))
    weights = patient_weights([r["patient_id"] for r in mine[0]], 300, 0)
    draws = [np.mean([auroc(m, w) for m in mine]) - np.mean([auroc(t, w) for t in theirs]) for w in weights]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=1e-9)
    assert row["standard_error"] == pytest.approx(np.std(draws, ddof=1))
    assert row["smallest_detectable"] == pytest.approx(2.8 * np.std(draws, ddof=1))
    assert row["p_value"] == pytest.approx(bootstrap_p_value(np.array(draws)))
    brier = one(rows, family=GRID, metric="brier")
    assert brier["difference"] == pytest.approx(
        np.mean([brier_score_loss(label, [r["probability"] for r in m]) for m in mine])
        - np.mean([brier_score_loss(label, [r["probability"] for r in t]) for t in theirs])
    )


def test_a_method_does_not_differ_from_itself() -> None:
    means = {(name, CLEAN): means_of([made_predictions(1.0, 0)]) for name in ("a", "b")}
    for row in compare(Claim("a", "auroc"), ["b"], [CLEAN], means, TRAITS, 0.95):
        assert (row["difference"], row["ci_low"], row["ci_high"]) == (0, 0, 0)
        assert np.isnan(row["p_value"])  # nothing that data could decide


def test_families_are_corrected_apart() -> None:
    conditions = [CLEAN, ("missing_values", 0.5)]
    skills = {"a": 1.6, "b": 1.1, "c": 0.6, "d": 1.5}
    means = {
        (name, condition): means_of([made_predictions(skill / (1 + i), 0)])
        for name, skill in skills.items()
        for i, condition in enumerate(conditions)
    }
    rows = compare(Claim("a", "auroc"), ["b", "c", "d"], conditions, means, TRAITS, 0.95)
    correct_families(rows)
    assert [row["baseline"] for row in rows[:3]] == ["b", "c", "d"]
    assert {row["family"] for row in rows[:3]} == {PRIMARY}
    assert {row["family"] for row in rows[3:]} == {GRID}
    assert len(rows) == 3 * 2 * 2
    for family, method in ((rows[:3], "holm"), (rows[3:], "fdr_bh")):
        expected = multipletests([row["p_value"] for row in family], method=method)[1]
        assert [row["p_corrected"] for row in family] == pytest.approx(list(expected))
    assert rows[0]["correction"] == "holm"
    assert rows[-1]["correction"] == "benjamini_hochberg"


def test_the_same_test_counts_once_and_where_it_is_primary() -> None:
    """Three conditions leave a and b as they were: their rows are the primary test again, and no tests of the grid."""
    unchanged = [("feature_order", severity) for severity in (0.2, 0.6, 1.0)]
    skills = {"a": 1.6, "b": 1.0, "c": 1.4}
    means = {
        (name, condition): means_of([made_predictions(skill, 0)])
        for name, skill in skills.items()
        for condition in (CLEAN, *unchanged)
    }
    means[("c", unchanged[0])] = means_of([made_predictions(1.1, 0)])
    rows = compare(Claim("a", "auroc"), ["b", "c"], [CLEAN, *unchanged], means, TRAITS, 0.95)
    correct_families(rows)
    primary = {row["baseline"]: row for row in rows if row["family"] == PRIMARY}
    again = [row for row in rows if row["family"] == GRID and row["test"] in {p["test"] for p in primary.values()}]
    assert len(again) == 3 + 2
    for row in again:
        counted = primary[row["baseline"]]
        assert (row["p_corrected"], row["correction"]) == (counted["p_corrected"], "holm")
    # What is left: one changed AUROC, and one Brier score per baseline on clean and on changed records.
    grid = {row["test"]: row for row in rows if row["correction"] == "benjamini_hochberg"}
    assert len(grid) == 1 + 2 + 1
    expected = multipletests([row["p_value"] for row in grid.values()], method="fdr_bh")[1]
    assert [row["p_corrected"] for row in grid.values()] == pytest.approx(list(expected))
    # Two methods that answer alike are two claims, each of them counted.
    means |= {("d", condition): means[("b", condition)] for condition in (CLEAN, *unchanged)}
    rows = compare(Claim("a", "auroc"), ["b", "c", "d"], [CLEAN, *unchanged], means, TRAITS, 0.95)
    correct_families(rows)
    three = [row["p_value"] for row in rows if row["family"] == PRIMARY]
    assert [row["p_corrected"] for row in rows[:3]] == pytest.approx(list(multipletests(three, method="holm")[1]))


def test_what_is_biased_by_how_answers_scatter_is_shown_and_not_tested() -> None:
    binned = ("ece", "brier_reliability", "brier_resolution")
    metrics = [
        MetricUse.registered("auroc", {}),
        *(MetricUse.registered(name, {"bins": 10}) for name in binned),
        MetricUse.registered("calibration_slope", {}),
    ]
    sides = [seed_means([evaluate(made_predictions(skill, 0), metrics, INTERVALS)]) for skill in (1.5, 0.5)]
    rows = compare(
        Claim("a", "auroc"),
        ["b"],
        [CLEAN],
        {("a", CLEAN): sides[0], ("b", CLEAN): sides[1]},
        traits_by_name(metrics),
        0.95,
    )
    correct_families(rows)
    tested = {row["metric"]: not np.isnan(row["p_value"]) for row in rows}
    assert tested == {"auroc": True} | dict.fromkeys(
        ("ece", "brier_reliability", "brier_resolution", "calibration_slope"), False
    )
    assert all(row["ci_low"] <= row["difference"] <= row["ci_high"] for row in rows if row["metric"] == "auroc")
    assert {row["correction"] for row in rows} == {"holm", ""}


def test_a_cell_without_numbers_leaves_no_row() -> None:
    mine, theirs = (means_of([made_predictions(skill, 0)]) for skill in (1.5, 0.5))
    undefined = SeedMeans({**theirs.points, "auroc": float("nan")}, theirs.draws)
    means = {("a", CLEAN): mine, ("b", CLEAN): undefined}
    rows = compare(Claim("a", "auroc"), ["b", "c"], [CLEAN, ("order", 1.0)], means, TRAITS, 0.95)
    assert [(row["metric"], row["baseline"], row["condition"]) for row in rows] == [("brier", "b", "clean")]
    assert compare(Claim("a", "auroc"), ["b"], [CLEAN], {("b", CLEAN): theirs}, TRAITS, 0.95) == []


def test_undefined_resamples_are_counted_and_an_undefined_interval_is_no_test() -> None:
    mine, theirs = (means_of([made_predictions(skill, 0)]) for skill in (1.5, 0.5))
    some, most = theirs.draws["auroc"].copy(), theirs.draws["auroc"].copy()
    some[:20], most[:200] = np.nan, np.nan
    means = {
        ("a", CLEAN): mine,
        ("b", CLEAN): SeedMeans(theirs.points, {**theirs.draws, "auroc": some}),
        ("c", CLEAN): SeedMeans(theirs.points, {**theirs.draws, "auroc": most}),
    }
    rows = compare(Claim("a", "auroc"), ["b", "c"], [CLEAN], means, TRAITS, 0.95)
    correct_families(rows)
    b, c = (one(rows, family=PRIMARY, baseline=name) for name in "bc")
    assert (b["undefined_resamples"], c["undefined_resamples"]) == (20, 200)
    assert b["p_corrected"] == b["p_value"]  # a family of one
    assert np.isnan([c["ci_low"], c["p_value"], c["p_corrected"]]).all()
    assert c["difference"] == b["difference"]


def test_corrected_answers_are_compared_where_both_have_them() -> None:
    means = {
        (name, CLEAN): means_of([made_predictions(skill, 0, corrected=corrected)])
        for name, skill, corrected in (("a", 1.5, 0.5), ("b", 0.5, 0.5), ("c", 0.5, None))
    }
    rows = compare(Claim("a", "auroc"), ["b", "c"], [CLEAN], means, TRAITS, 0.95)
    corrected = [(row["metric"], row["baseline"]) for row in rows if row["calibration"] == "prior_corrected"]
    assert corrected == [("auroc", "b"), ("brier", "b")]
    assert {row["family"] for row in rows if row["calibration"] == "prior_corrected"} == {GRID}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "{method: ligthgbm, metric: auroc}",
            "the method 'ligthgbm' is not in this benchmark; did you mean 'lightgbm'",
        ),
        ("{method: deep, metric: auc}", "the metric 'auc' is not in this benchmark; did you mean 'auroc'"),
        ("{method: deep, metrics: auroc}", "unknown key 'comparisons.metrics'"),
        ("{method: deep}", "the key 'comparisons.metric' is missing"),
    ],
)
def test_what_is_not_in_the_benchmark_can_not_be_compared(
    cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path, written: str, message: str
) -> None:
    path = write_benchmark(tmp_path, physionet_root)
    lines = [*path.read_text().splitlines(), f"comparisons: {written}"]
    path.write_text("\n".join(lines) + "\n")
    done = cli("plan", path)
    assert done.code == 2
    assert message in done.err
    assert f"small.yaml:{len(lines)}" in done.err


def test_a_profile_may_compare_something_else(
    cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    path = write_benchmark(tmp_path, physionet_root)
    path.write_text(
        path.read_text()
        + "comparisons: {method: deep, metric: auroc}\n"
        + "profiles: {quick: {seeds: [0], conditions: [clean], comparisons: {metric: brier}}}\n"
    )
    assert cli("run", path, "--profile", "quick", "--out", tmp_path / "out").code == 0
    rows = read(tmp_path / "out")
    assert [(r["metric"], r["baseline"]) for r in rows if r["family"] == PRIMARY] == [
        ("brier", "lightgbm"), ("brier", "logistic_regression"),
    ]  # fmt: skip


def read(run: Path) -> list[dict[str, str]]:
    with (run / "comparisons.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_last_method_is_compared_where_the_benchmark_says_nothing(
    cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    path = write_benchmark(tmp_path, physionet_root)
    written = cli("run", path, "--seeds", "0", "--out", tmp_path / "default")
    assert written.code == 0, written.err
    last = read_yaml(path).tree["methods"][-1]
    named = {"method": item_label(last), "metric": "auroc"}
    manifest = json.loads((tmp_path / "default" / "manifest.json").read_text())
    assert manifest["comparisons"] == manifest["benchmark"]["comparisons"] == named
    assert verify(tmp_path / "default").passed
    path.write_text(path.read_text() + f"comparisons: {json.dumps(named)}\n")
    assert cli("run", path, "--seeds", "0", "--out", tmp_path / "named").code == 0
    both = [(tmp_path / name / "comparisons.csv").read_bytes() for name in ("default", "named")]
    assert both[0] == both[1] != b""


def test_nothing_is_compared_with_one_method_or_by_metrics_without_a_test(
    tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    path = write_benchmark(tmp_path, physionet_root)
    registry, store = load_registry(), Store.open(store_folder)

    def claim(*sets: str) -> ComparisonSpec | None:
        return make_plan(load_benchmark(path, sets=sets), registry, store).loaded.benchmark.comparisons

    assert claim("metrics=[ece, brier, auroc]") == ComparisonSpec(method="logistic_regression", metric="brier")
    assert claim("methods=[lightgbm]") is None
    assert claim("metrics=[ece]") is None
    assert claim("comparisons=null") is None


def test_a_run_without_a_claim_has_no_differences(
    cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    path = write_benchmark(tmp_path, physionet_root)
    path.write_text(path.read_text() + "comparisons: null\n")
    assert cli("run", path, "--seeds", "0", "--out", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "comparisons.csv").read_text().strip() == ",".join(COMPARISON_COLUMNS)
    assert "Paired differences" not in (tmp_path / "out" / "report.html").read_text()
    assert verify(tmp_path / "out").passed


def test_a_run_writes_shows_and_verifies_its_differences(
    cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    path = write_benchmark(tmp_path, physionet_root)
    path.write_text(path.read_text() + "comparisons: {method: lightgbm, metric: auroc}\n")
    out = tmp_path / "out"
    assert cli("run", path, "--out", out).code == 0
    rows = read(out)
    assert tuple(rows[0]) == COMPARISON_COLUMNS
    # Citations are undefined for experts, so five metrics; three conditions; two other methods.
    assert len(rows) == 5 * 3 * 2
    results = list(csv.DictReader((out / "results.csv").open(newline="")))
    value = {
        (r["method"], r["condition"], r["severity"], r["metric"]): r["value"] for r in results if r["seed"] == "mean"
    }
    for row in rows:
        key = (row["condition"], row["severity"], row["metric"])
        expected = float(value[("lightgbm", *key)]) - float(value[(row["baseline"], *key)])
        assert float(row["difference"]) == pytest.approx(expected, abs=1e-12)
        assert float(row["ci_low"]) <= float(row["ci_high"])
        assert (row["n_seeds"], row["undefined_resamples"]) == ("2", "0")
    # With so few cases, more leaves change nothing: the difference is 0, so is its interval, and nothing is tested.
    same = [row for row in rows if row["baseline"] == "deep"]
    assert {(row["difference"], row["ci_low"], row["ci_high"], row["p_value"], row["p_corrected"]) for row in same} == {
        ("0.0",) * 3 + ("",) * 2
    }
    findings = verify(out)
    assert findings.passed, findings.problems
    assert findings.checked["paired differences recomputed"] == len(rows)
    page = (out / "report.html").read_text()
    assert "Paired differences" in page
    assert "Primary family: 1 test, p corrected by Holm" in page
    assert "larger than the difference" in page
    assert "share the highest AUROC on unchanged records" in page  # deep and lightgbm are the same here
    assert "At 5 % after correction: no difference is shown from" in page
    assert "paired difference in AUROC" in cli("report", out, "--format", "md").out

    # With the hash made to fit, a changed p-value and a dropped row are still seen.
    for name, change in (("p", _raise_first_p_value), ("row", lambda lines: lines[:-1])):
        changed = shutil.copytree(out, tmp_path / name)
        lines = (changed / "comparisons.csv").read_text().splitlines()
        (changed / "comparisons.csv").write_text("\n".join(change(lines)) + "\n")
        manifest = json.loads((changed / "manifest.json").read_text())
        manifest["files"]["comparisons.csv"] = file_hash(changed / "comparisons.csv")
        (changed / "manifest.json").write_text(json.dumps(manifest))
        assert any("comparisons.csv" in problem for problem in verify(changed).problems)


def _raise_first_p_value(lines: list[str]) -> list[str]:
    cells = lines[2].split(",")
    index = COMPARISON_COLUMNS.index("p_value")
    cells[index] = repr(float(cells[index]) / 2)
    return [*lines[:2], ",".join(cells), *lines[3:]]


def test_delongs_test_stands_beside_the_bootstrap_where_cases_are_patients() -> None:
    mine, theirs = ([made_predictions(skill, seed) for seed in (0, 1)] for skill in (1.5, 0.8))

    def means(rows_by_seed: list[list[dict[str, Any]]]) -> SeedMeans:
        found = [evaluate(rows, METRICS, INTERVALS) for rows in rows_by_seed]
        return seed_means(found, [answered(rows) for rows in rows_by_seed])

    rows = compare(
        Claim("a", "auroc"), ["b"], [CLEAN], {("a", CLEAN): means(mine), ("b", CLEAN): means(theirs)}, TRAITS, 0.95
    )
    row = one(rows, family=PRIMARY)
    assert row["delong_standard_error"] == pytest.approx(row["standard_error"], rel=0.15)
    assert row["delong_p_value"] == pytest.approx(row["p_value"], abs=0.05)
    assert np.isnan(one(rows, metric="brier")["delong_p_value"])
    # Two cases of a patient are not independent, and the formula does not know it.
    shared = [[{**r, "patient_id": f"p{i // 2}"} for i, r in enumerate(seed)] for seed in mine]
    others = [[{**r, "patient_id": f"p{i // 2}"} for i, r in enumerate(seed)] for seed in theirs]
    rows = compare(
        Claim("a", "auroc"), ["b"], [CLEAN], {("a", CLEAN): means(shared), ("b", CLEAN): means(others)}, TRAITS, 0.95
    )
    assert np.isnan(one(rows, family=PRIMARY)["delong_p_value"])


@pytest.mark.parametrize(("events", "is_tested"), [(4, False), (5, True)])
def test_few_events_have_a_difference_and_no_test_of_either_kind(events: int, is_tested: bool) -> None:
    def means(skill: float) -> SeedMeans:
        rows = [{**row, "label": int(i < events)} for i, row in enumerate(made_predictions(skill, 0))]
        return seed_means([evaluate(rows, METRICS, INTERVALS)], [answered(rows)])

    found = {("a", CLEAN): means(1.5), ("b", CLEAN): means(0.8)}
    row = one(compare(Claim("a", "auroc"), ["b"], [CLEAN], found, TRAITS, 0.95), family=PRIMARY)
    assert np.isfinite(row["difference"])
    for name in ("ci_low", "ci_high", "p_value", "delong_p_value", "delong_standard_error"):
        assert np.isfinite(row[name]) == is_tested
    assert bool(row["test"]) == is_tested


def same_answer_everywhere(value: float, labels: list[int]) -> list[dict[str, Any]]:
    empty: dict[str, Any] = dict.fromkeys(SCORED_SCHEMA.names)
    return [
        {**empty, "case_id": f"c{i:03d}", "patient_id": f"p{i:03d}", "fold": 0, "probability": value, "parsed": True}
        | {"label": label}
        for i, label in enumerate(labels)
    ]


def test_a_percentage_of_what_is_0_but_for_rounding_is_undefined() -> None:
    labels = [1] * 13 + [0] * 87
    metrics = [MetricUse.registered("ece", {}), MetricUse.registered("brier", {})]
    rows = {"constant": same_answer_everywhere(0.13, labels), "other": same_answer_everywhere(0.4, labels)}
    means = {(name, CLEAN): seed_means([evaluate(found, metrics, INTERVALS)]) for name, found in rows.items()}
    nearly = means["constant", CLEAN]
    means["constant", CLEAN] = SeedMeans({**nearly.points, "ece": 4.6e-17}, nearly.draws)
    found = compare(Claim("other", "brier"), ["constant"], [CLEAN], means, traits_by_name(metrics), 0.95)
    ece = one(found, metric="ece")
    assert ece["difference"] == pytest.approx(0.27)
    assert np.isnan(ece["relative_percent"])
    assert one(found, metric="brier")["relative_percent"] == pytest.approx(100 * 0.27**2 / (0.13 * 0.87))


def test_a_run_whose_baseline_answers_the_prevalence_is_verified(
    cli: Callable[..., Finished], tmp_path: Path, physionet_root: Path
) -> None:
    outcomes = [line.split(",") for line in (physionet_root / "Outcomes-a.txt").read_text().splitlines()[1:]]
    assert outcomes
    (tmp_path / "b.yaml").write_text(
        f"name: near_zero\ndata: {{name: physionet2012, root: '{physionet_root}'}}\n"
        "split: {train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}\n"
        "methods: [logistic_regression, prevalence_of_held_out]\n"
        "conditions: [clean, {name: missing_values, severity: [0.5]}]\n"
        "comparisons: {method: logistic_regression, metric: brier}\nmetrics: [brier, ece]\n"
        "intervals: {resamples: 100}\nseeds: [0]\n"
    )
    components: Any = load_registry().components
    key = ("method", PrevalenceOfHeldOut.name)
    PrevalenceOfHeldOut.label = {row[0]: int(row[-1]) for row in outcomes}
    components[key] = (registered("method", PrevalenceOfHeldOut, "test", "a-package"),)
    try:
        finished = cli("run", tmp_path / "b.yaml", "--limit", 300, "--out", tmp_path / "out", "--quiet")
    finally:
        del components[key]
    assert finished.code == 0, finished.err + finished.out
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        values = [r for r in csv.DictReader(stream) if (r["method"], r["metric"]) == (key[1], "ece")]
    assert all(float(row["value"]) < 1e-15 for row in values)
    with (tmp_path / "out" / "comparisons.csv").open(newline="") as stream:
        assert {r["relative_percent"] for r in csv.DictReader(stream) if r["metric"] == "ece"} == {""}
    with (tmp_path / "out" / "robustness.csv").open(newline="") as stream:
        percents = [r for r in csv.DictReader(stream) if r["summary"] == "degradation_percent"]
    assert not [r for r in percents if (r["method"], r["metric"]) == (key[1], "ece")]
    assert max(abs(float(r["standard_error"])) for r in percents) < 1e6
    assert verify(tmp_path / "out").passed


class PrevalenceOfHeldOut:
    """Answers every case with the share of events among the cases: perfectly calibrated, and without skill."""

    name: ClassVar[str] = "prevalence_of_held_out"
    traits: ClassVar[MethodTraits] = MethodTraits(reads="columns")
    label: ClassVar[dict[str, int]] = {}

    class Params(StrictParams):
        pass

    def __init__(self, params: Any) -> None:
        self.params = params

    def stages(self, plan: Any) -> dict[str, Any]:
        return {}

    def predict(self, cases: Any, run: Any) -> list[Prediction]:
        share = float(np.mean([self.label[case.case_id] for case in cases]))
        return [Prediction(case.case_id, share, "model") for case in cases]


@pytest.mark.parametrize(
    ("text", "percent_of", "same"),
    [
        ("12.5000001", 0.8, False),  # an ordinary percentage is held to 1e-9
        ("12.5000000000001", 0.8, True),
        ("12.5000001", 1e-8, True),  # the last digit of 1e-8 decides so much
        ("13", 1e-8, False),
    ],
)
def test_a_percentage_is_verified_as_closely_as_its_whole_is_known(text: str, percent_of: float, same: bool) -> None:
    assert _is_same(text, 12.5, percent_of) is same
