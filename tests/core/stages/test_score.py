"""The stage `score`: answers of all folds meet the labels of their own cases, whatever their order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eagbench.contracts.answers import HeldOutLabels
from eagbench.contracts.stages import StageRun
from eagbench.stages.score import score
from eagbench.stages.scored_files import read_scored, read_values

N = 40
IDS = [f"case {i}" for i in range(N)]  # in another order than their numbers: `case 10` comes before `case 2`
LABEL = {case_id: int(i % 3 == 0) for i, case_id in enumerate(IDS)}
FOLD = {case_id: i % 2 for i, case_id in enumerate(IDS)}
ANSWER = {case_id: None if i % 11 == 0 else i / N for i, case_id in enumerate(IDS)}
LABELS = HeldOutLabels(
    label=LABEL,
    patient={case_id: f"patient {i // 2}" for i, case_id in enumerate(IDS)},
    fold=FOLD,
    training_prevalence={0: 0.25, 1: 0.5},
    reference_probabilities={},
)


def scored(place: Path, folds: Sequence[Sequence[str]]) -> Path:
    """Score predictions of these cases, fold by fold, and return the stage's folder."""
    predict = []
    for number, case_ids in enumerate(folds):
        folder = place / f"predict{number}"
        folder.mkdir(parents=True)
        none = pa.nulls(len(case_ids))
        columns = {
            "case_id": pa.array(case_ids, pa.string()),
            "probability": pa.array([ANSWER.get(case_id) for case_id in case_ids], pa.float64()),
            "prior_corrected": none.cast(pa.float64()),
            "answer_mode": pa.array(["model"] * len(case_ids)),
            "cited_features": none.cast(pa.list_(pa.string())),
            "attention": none.cast(pa.map_(pa.string(), pa.float64())),
            "extras": none.cast(pa.map_(pa.string(), pa.float64())),
        }
        pq.write_table(pa.table(columns), folder / "predictions.parquet")
        predict.append(folder)
    out = place / "out"
    out.mkdir()
    params = {
        "metrics": [{"name": name, "params": {}} for name in ("auroc", "brier")],
        "intervals": {"resamples": 50, "seed": 0, "level": 0.95},
    }
    score(StageRun(params=params, inputs={"labels": LABELS, "predict": tuple(predict)}, seed=0, out=out))
    return out


def of_fold(fold: int) -> list[str]:
    return [case_id for case_id in IDS if FOLD[case_id] == fold]


def test_rows_are_in_the_order_of_case_ids_with_the_case_s_own_label_patient_and_prevalence(tmp_path: Path) -> None:
    rows = read_scored(scored(tmp_path, [of_fold(0), of_fold(1)])).to_pylist()
    assert [row["case_id"] for row in rows] == sorted(IDS)
    for row in rows:
        case_id = row["case_id"]
        given = ANSWER[case_id]
        assert (row["label"], row["fold"], row["patient_id"]) == (
            LABEL[case_id],
            FOLD[case_id],
            LABELS.patient[case_id],
        )
        assert row["parsed"] == (given is not None)
        assert row["probability"] == (LABELS.training_prevalence[FOLD[case_id]] if given is None else given)
        assert row["prior_corrected"] is None


def test_the_order_of_the_answers_and_the_cells_before_change_nothing(tmp_path: Path) -> None:
    shuffled = [list(np.random.default_rng(1).permutation(of_fold(fold))) for fold in (0, 1)]
    orders = {"sorted": [sorted(IDS)], "shuffled": shuffled, "folds": [of_fold(0), of_fold(1)]}
    folders = {name: scored(tmp_path / name, folds) for name, folds in orders.items()}
    for name, folder in folders.items():
        assert read_scored(folder).equals(read_scored(folders["sorted"])), name
        assert read_values(folder) == read_values(folders["sorted"])
        assert (folder / "resamples.arrow").read_bytes() == (folders["sorted"] / "resamples.arrow").read_bytes()


@pytest.mark.parametrize(
    "case_ids",
    [sorted(IDS)[:-1], [*sorted(IDS), "case of another"], [*sorted(IDS), IDS[0]], [*sorted(IDS)[:-1], IDS[0]]],
    ids=["one missing", "one too many", "one twice", "one in another's place"],
)
def test_predictions_that_do_not_cover_the_cases_exactly_are_refused(tmp_path: Path, case_ids: list[str]) -> None:
    with pytest.raises(ValueError, match="exactly once"):
        scored(tmp_path, [case_ids])
