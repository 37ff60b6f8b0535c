"""`eagbench compare`: differences between two run folders, and what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from eagbench.analysis.scored_table import SCORED_SCHEMA
from eagbench.errors import UserError
from eagbench.runs.compare import COLUMNS, compare_runs
from eagbench.runs.schema import KEY_COLUMNS
from eagbench.stats.bootstrap import patient_weights
from tests.conftest import Finished
from tests.core.analysis.test_comparisons import made_predictions

CLEAN, STRONG = ("clean", None), ("missing_values", 0.5)
KEYS = dict.fromkeys(KEY_COLUMNS, "x") | {"domain_train": "icu", "domain_eval": "icu", "task": "death"}


def write_run(
    folder: Path,
    methods: dict[str, float],
    *,
    seeds: tuple[int, ...] = (0, 1),
    conditions: tuple[tuple[str, float | None], ...] = (CLEAN, STRONG),
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda rows: rows,
    conditions_in_manifest: list[dict[str, Any]] | None = None,
    **manifest: Any,
) -> Path:
    """A run folder as far as a comparison reads it: the manifest and the predictions."""
    (folder / "predictions").mkdir(parents=True)
    keyed = [(key, pa.float64() if key == "severity" else pa.string()) for key in KEY_COLUMNS]
    schema = pa.schema([*keyed, *SCORED_SCHEMA])
    for label, skill in methods.items():
        rows = []
        for name, severity in conditions:
            for seed in seeds:
                made = made_predictions(skill * (1 - (severity or 0)), seed)
                keys = KEYS | {"method": label, "seed": str(seed), "condition": name, "severity": severity}
                rows += [{**keys, **row, "answer_mode": "model"} for row in change(made)]
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "predictions" / f"{label}.parquet")
    whole = {
        "name": "b",
        "methods": [{"label": label} for label in methods],
        "conditions": conditions_in_manifest or [{"name": n, "severity": s} for n, s in conditions],
        "data": {},
        "intervals": {"resamples": 200, "level": 0.95, "seed": 0},
        "seeds": list(seeds),
        "metrics": [{"name": "auroc", "params": {}}, {"name": "brier", "params": {}}],
        "synthetic": False,
    }
    (folder / "manifest.json").write_text(json.dumps(whole | manifest))
    return folder


def test_a_difference_between_runs_is_that_of_their_means_on_joint_resamples(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", {"eag": 1.6, "other": 1.0})
    second = write_run(tmp_path / "b", {"eag": 0.6, "base": 1.0}, seeds=(0, 1, 2))
    found = compare_runs(first, second)
    assert found.metric == "auroc"
    assert {(row["first"], row["second"]) for row in found.rows} == {("eag", "eag")}
    assert len(found.rows) == 2 * 2
    row = found.rows[0]
    assert tuple(row) == COLUMNS
    assert (row["family"], row["condition"], row["n_seeds_first"], row["n_seeds_second"]) == ("primary", "clean", 2, 3)
    label = [r["label"] for r in made_predictions(1.6, 0)]

    def auroc(skill: float, seeds: tuple[int, ...], weights: Any = None) -> float:
        answers = [[r["probability"] for r in made_predictions(skill, seed)] for seed in seeds]
        return float(np.mean([roc_auc_score(label, p, sample_weight=weights) for p in answers]))

    assert row["difference"] == pytest.approx(auroc(1.6, (0, 1)) - auroc(0.6, (0, 1, 2)))
    weights = patient_weights([r["patient_id"] for r in made_predictions(1.6, 0)], 200, 0)
    draws = [auroc(1.6, (0, 1), w) - auroc(0.6, (0, 1, 2), w) for w in weights]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=1e-9)
    rest = found.rows[1:]
    expected = multipletests([r["p_value"] for r in rest], method="fdr_bh")[1]
    assert [r["p_corrected"] for r in rest] == pytest.approx(list(expected))
    assert 0 < row["delong_p_value"] < 0.05


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", {"eag": 1.6, "base": 1.0})
    for row in compare_runs(first, first).rows:
        assert (row["difference"], row["ci_low"], row["ci_high"]) == (0, 0, 0)
        assert np.isnan(row["p_value"])


def test_methods_are_named_where_their_labels_differ(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", {"eag": 1.6})
    second = write_run(tmp_path / "b", {"eag_v1": 0.6})
    with pytest.raises(UserError, match="no method has the same label in both runs: eag here, eag_v1 there"):
        compare_runs(first, second)
    found = compare_runs(first, second, pairs=["eag=eag_v1"], metric="brier", conditions=["clean"])
    assert [(r["first"], r["second"], r["metric"], r["family"]) for r in found.rows] == [
        ("eag", "eag_v1", "brier", "primary"), ("eag", "eag_v1", "auroc", "grid"),
    ]  # fmt: skip
    with pytest.raises(UserError, match="no predictions of a method 'nobody'"):
        compare_runs(first, second, pairs=["nobody=eag_v1"])
    with pytest.raises(UserError, match="is not a pair"):
        compare_runs(first, second, pairs=["eag"])


AS_DRAWN = {"name": "missing_by_value", "ratio": 20.0, "code": "x", "seed": 0}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"ratio": 1.0}, "missing_values 0.5 is not the same change of the records: ratio 20.0 here, ratio 1.0 there"),
        ({"seed": 3}, "seed 0 here, seed 3 there"),
        ({"code": "y"}, "code x here, code y there"),
    ],
)
def test_a_condition_of_the_same_name_must_be_the_same_change(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    def conditions(drawn: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"name": "clean", "severity": None, "perturbation": None},
            {"name": "missing_values", "severity": 0.5, "perturbation": drawn},
        ]

    first = write_run(tmp_path / "a", {"eag": 1.6}, conditions_in_manifest=conditions(AS_DRAWN))
    same = write_run(tmp_path / "b", {"eag": 1.0}, conditions_in_manifest=conditions(AS_DRAWN))
    assert compare_runs(first, same).rows
    second = write_run(tmp_path / "c", {"eag": 1.0}, conditions_in_manifest=conditions(AS_DRAWN | other))
    with pytest.raises(UserError, match=said):
        compare_runs(first, second)
    assert compare_runs(first, second, conditions=["clean"]).rows


def test_cases_that_show_another_part_of_the_record_are_other_cases(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / f"{hours:g}", {"eag": 1.6}, data={"icu": {"task": {"window_hours": hours}}})
        for hours in (48.0, 24.0)
    ]
    with pytest.raises(UserError, match="the cases of icu show 48 hours in the first run and 24 in the second"):
        compare_runs(*runs)


@pytest.mark.parametrize(
    ("other", "refused", "said"),
    [
        ({"content": "y"}, ("clean", "missing_values"), "read from files of another content"),
        ({"features": ["a", "c"]}, ("missing_values",), "other features.*: b in the first run alone; c in the second"),
        ({"features": ["b", "a"]}, ("missing_values",), "other features.*: the same in another order"),
        ({"trained_on": "z"}, ("missing_values",), "fitted on other training cases"),
    ],
)
def test_other_records_under_the_same_ids_are_refused_where_it_matters(
    tmp_path: Path, other: dict[str, Any], refused: tuple[str, ...], said: str
) -> None:
    def run(name: str, *, content: str = "x", features: Sequence[str] = "ab", trained_on: str = "w") -> Path:
        return write_run(
            tmp_path / name,
            {"eag": 1.6 if name == "a" else 1.0},
            conditions_in_manifest=[
                {"name": "clean", "severity": None, "perturbation": None},
                {"name": "missing_values", "severity": 0.5, "perturbation": AS_DRAWN},
            ],
            data={"icu": {"content": content, "features": [{"name": f} for f in features]}},
            parts=[{"domain": "icu", "fold": 0, "part": "train", "patients_sha256": trained_on}],
        )

    runs = run("a"), run("b", **other)
    for condition in ("clean", "missing_values"):
        if condition in refused:
            with pytest.raises(UserError, match=said):
                compare_runs(*runs, conditions=[condition])
        else:
            assert compare_runs(*runs, conditions=[condition]).rows
    assert compare_runs(runs[0], run("c")).rows


def test_alignment_with_different_experts_is_not_compared(tmp_path: Path) -> None:
    metrics = [{"name": name, "params": {}} for name in ("auroc", "cited_features", "citation_jaccard")]

    def run(
        name: str,
        expert: Any,
        features: int = 5,
        lists: Callable[[int], list[str]] = lambda seed: ["a", "b"],
        seeds: tuple[int, ...] = (0, 1),
        methods: tuple[str, ...] = ("eag",),
    ) -> Path:
        asked = iter(seeds * 2 * len(methods))  # under two conditions

        def listed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            taught = lists(next(asked))
            return [{**row, "cited_features": ["a"], "teacher_features": taught} for row in rows]

        benchmark = {"reference_expert": expert, "teacher_features": features}
        skill = dict.fromkeys(methods, 1.6)
        return write_run(tmp_path / name, skill, change=listed, metrics=metrics, benchmark=benchmark, seeds=seeds)

    same = compare_runs(run("a", "lightgbm"), run("b", {"name": "lightgbm"}))
    assert same.left_out == ()
    assert {row["metric"] for row in same.rows} == {"auroc", "cited_features", "citation_jaccard"}
    # The same expert of other seeds, or with another number of features, may give other lists, or the same.
    other = compare_runs(tmp_path / "a", run("c", "lightgbm", 1, lists=lambda seed: ["a"]))
    assert other.left_out == ("citation_jaccard",)
    assert {row["metric"] for row in other.rows} == {"auroc", "cited_features"}
    by_seed = run("d", "lightgbm", lists=lambda seed: ["a", "b" if seed else "c"])
    assert compare_runs(by_seed, by_seed).left_out == ()
    assert compare_runs(tmp_path / "a", by_seed).left_out == ("citation_jaccard",)
    more = run("e", "logistic_regression", seeds=(0, 1, 2))  # the same lists by every seed
    assert compare_runs(tmp_path / "a", more).left_out == ()
    # Left out for one pair, they are left out: the caption speaks for all rows.
    two = run("f", "lightgbm", methods=("eag", "other")), run("g", "lightgbm", methods=("eag", "other"))
    table = pq.read_table(two[1] / "predictions" / "other.parquet")
    swapped = [{**row, "teacher_features": ["c"]} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(swapped, schema=table.schema), two[1] / "predictions" / "other.parquet")
    found = compare_runs(*two)
    assert found.left_out == ("citation_jaccard",)
    assert {(row["first"], row["metric"]) for row in found.rows} == {
        (label, metric) for label in ("eag", "other") for metric in ("auroc", "cited_features")
    }
    said = (
        "compares with lists of features that differ between the runs: 5 features of lightgbm, seeds 0, 1 here, "
        "1 features of lightgbm, seeds 0, 1 there"
    )
    with pytest.raises(UserError, match=f"'citation_jaccard' {said}"):
        compare_runs(tmp_path / "a", tmp_path / "c", metric="citation_jaccard")


def test_attention_is_compared_with_the_same_weights_only(tmp_path: Path) -> None:
    def run(name: str, weight: float | None) -> Path:
        salience = None if weight is None else [("a", weight), ("b", 1 - weight)]

        def weighed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            taught = {"cited_features": ["a"], "teacher_features": ["a", "b"], "teacher_salience": salience}
            return [{**row, **taught, "attention": [("a", 0.5), ("b", 0.5)]} for row in rows]

        metrics = [{"name": name, "params": {}} for name in ("auroc", "attention_mass", "citation_jaccard")]
        return write_run(tmp_path / name, {"eag": 1.6}, change=weighed, metrics=metrics)

    first = run("a", 0.7)
    assert compare_runs(first, run("b", 0.7 + 6e-7)).left_out == ()
    assert compare_runs(first, run("c", 0.6)).left_out == ("attention_mass", "citation_jaccard")
    # Where attention was measured in one run only, the lists decide.
    assert compare_runs(first, run("d", None)).left_out == ()


def test_the_primary_metric_is_one_that_can_be_tested(tmp_path: Path) -> None:
    metrics = [{"name": name, "params": {}} for name in ("ece", "brier")]
    runs = [write_run(tmp_path / name, {"eag": 1.6}, metrics=metrics) for name in ("a", "b")]
    assert compare_runs(*runs).metric == "brier"
    with pytest.raises(UserError, match="a difference in 'ece' can't carry a claim"):
        compare_runs(*runs, metric="ece")
    with pytest.raises(UserError, match="the metric 'auroc' is not in both runs"):
        compare_runs(*runs, metric="auroc")
    own = write_run(tmp_path / "c", {"eag": 1.6}, comparisons={"method": "eag", "metric": "auroc"})
    with pytest.raises(UserError, match="the metric 'auroc' is not in both runs"):
        compare_runs(own, runs[1])
    alone = [write_run(tmp_path / f"{i}", {"eag": 1.6}, metrics=metrics[:1]) for i in (1, 2)]
    with pytest.raises(UserError, match="share no metric whose difference can be tested"):
        compare_runs(*alone)


def flipped(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**r, "label": 1 - r["label"]} if i < 3 else r for i, r in enumerate(rows)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"change": lambda rows: rows[5:]}, "the cases differ: 115 are in both runs, 5 in the first alone, 0 in the"),
        ({"change": flipped}, "3 of 120 cases have another label in the two runs"),
        ({"change": lambda rows: [{**r, "patient_id": "p"} for r in rows]}, "120 of 120 cases have another patient"),
        ({"conditions": (CLEAN,)}, r"the conditions differ: 1 in the first run alone \(missing_values 0.5\)"),
        ({"intervals": {"resamples": 200, "level": 0.95, "seed": 1}}, "the intervals differ"),
        ({"metrics": [{"name": "auroc", "params": {"x": 1}}]}, "the metric 'auroc' has other parameters"),
        ({"metrics": [{"name": "ece", "params": {}}]}, "share no metric whose difference can be tested"),
    ],
)
def test_runs_on_something_else_are_refused_with_the_reason(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    first = write_run(tmp_path / "a", {"eag": 1.6})
    second = write_run(tmp_path / "b", {"eag": 0.6}, **changed)
    with pytest.raises(UserError, match=message):
        compare_runs(first, second)


def test_the_command_writes_text_and_files(cli: Callable[..., Finished], tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", {"eag": 1.6}, synthetic=True)
    second = write_run(tmp_path / "b", {"eag": 0.6})
    done = cli("compare", first, second)
    assert done.code == 0, done.err
    assert "SYNTHETIC DATA." in done.out
    assert "| eag | clean |" in done.out
    assert "the same 120 cases" in done.out
    for suffix in ("csv", "md", "html"):
        out = tmp_path / "tables" / f"compared.{suffix}"
        assert cli("compare", first, second, "--metric", "brier", "--out", out).code == 0
        assert "SYNTHETIC" in out.read_text()
    with (tmp_path / "tables" / "compared.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4
    assert (rows[0]["metric"], rows[0]["family"], rows[0]["correction"]) == ("brier", "primary", "holm")
    assert "<table" in (tmp_path / "tables" / "compared.html").read_text()

    refused = cli("compare", first, write_run(tmp_path / "c", {"eag": 0.6}, change=lambda rows: rows[5:]))
    assert refused.code == 2
    assert "the cases differ" in refused.err
    assert cli("compare", first, second, "--metric", "auc").code == 2
    assert cli("compare", first, tmp_path).code == 2
    assert cli("compare", first, second, "--out", tmp_path / "x.pdf").code == 2
