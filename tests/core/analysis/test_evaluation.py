"""Numbers of many cells on the same patients: each resample as scikit-learn sees it, whatever is computed at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from eagbench.analysis.evaluation import evaluate, evaluate_answers
from eagbench.analysis.metric_uses import MetricUse
from eagbench.analysis.scored_table import SCORED_SCHEMA, answered
from eagbench.contracts.records import FloatArray
from eagbench.stages.scored_files import answers_of, read_cell, read_scored, write_numbers
from eagbench.stats.bootstrap import patient_weights

METRICS = [MetricUse.registered(name, {}) for name in ("auroc", "auprc", "brier", "ece")]
INTERVALS = {"resamples": 200, "seed": 3, "level": 0.95, "auroc": "logit"}
N = 60


def rows_of(skill: float, seed: int, **changed: Any) -> list[dict[str, Any]]:
    """Make the answers of one cell; all cells have the same 40 patients and labels, and tied probabilities."""
    label = (np.random.default_rng(9).random(N) < 0.3).astype(int)
    noise = np.random.default_rng(seed).normal(size=N)
    probability = np.round(1 / (1 + np.exp(-skill * label - noise)), 1 if seed % 2 else 3)
    empty = dict.fromkeys(SCORED_SCHEMA.names)
    return [
        {
            **empty,
            "case_id": f"c{n:03d}",
            "patient_id": f"p{n % 40:02d}",
            "fold": 0,
            "probability": float(probability[n]),
            "parsed": True,
            "answer_mode": "model",
            "label": int(label[n]),
            **changed,
        }
        for n in range(N)
    ]


def of_ece(label: Any, probability: FloatArray, sample_weight: FloatArray) -> float:
    """Compute the ECE bin by bin."""
    of_bin = np.minimum((probability * 10).astype(int), 9)
    gaps = [abs(((label - probability) * sample_weight)[(of_bin == k) & (sample_weight > 0)].sum()) for k in range(10)]
    return float(sum(gaps) / sample_weight.sum())


REFERENCES = {
    "auroc": roc_auc_score,
    "auprc": average_precision_score,
    "brier": brier_score_loss,
    "ece": of_ece,
}


def test_every_cell_has_the_numbers_that_scikit_learn_gives_on_each_resample() -> None:
    """The first cell draws, the later ones take the same draws."""
    for seed, skill in enumerate((0.0, 1.0, 3.0)):
        rows = rows_of(skill, seed)
        found = evaluate(rows, METRICS, INTERVALS)
        label, probability = (np.array([row[key] for row in rows]) for key in ("label", "probability"))
        weights = patient_weights([row["patient_id"] for row in rows], 200, 3)
        assert set(found.points) == set(REFERENCES)
        for name, reference in REFERENCES.items():
            assert found.points[name] == pytest.approx(
                reference(label, probability, sample_weight=np.ones(N)), abs=1e-12
            )
            expected = [reference(label, probability, sample_weight=row) for row in weights]
            np.testing.assert_allclose(found.draws[name], expected, rtol=0, atol=1e-12)


def test_a_cell_read_from_its_files_is_the_one_that_was_written(tmp_path: Path) -> None:
    """Lists, attention, unparsed answers, recalibrated numbers: as from rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = rows_of(1.0, 1)
    rich = rows_of(
        1.0,
        2,
        prior_corrected=0.25,
        cited_features=["ph", "lactate"],
        teacher_features=["ph"],
        constant_features=["glucose"],
        attention=[("ph", 0.5), ("lactate", 0.5)],
        teacher_salience=[("ph", 1.0)],
    )
    for n, row in enumerate(rich):
        if n % 7 == 0:
            row |= {"parsed": False, "cited_features": None, "attention": None}
    for number, rows in enumerate((plain, rich)):
        folder = tmp_path / str(number)
        folder.mkdir()
        table = pa.Table.from_pylist(rows, schema=SCORED_SCHEMA)
        answers = answers_of(table, METRICS)
        numbers = evaluate_answers(answers, METRICS, INTERVALS)
        write_numbers(folder, table, answers, numbers, INTERVALS)
        cell, written = read_cell(folder, METRICS)
        assert written.equals(table)
        (folder / "scored.arrow").unlink()  # as in the stages of before
        pq.write_table(table, folder / "scored.parquet")
        assert read_scored(folder).equals(table)
        assert cell.numbers.points == numbers.points == evaluate(rows, METRICS, INTERVALS).points
        for name, draws in numbers.draws.items():
            np.testing.assert_array_equal(cell.numbers.draws[name], draws)
        expected = answered(rows)
        assert cell.answered is not None
        assert cell.answered.probability.keys() == expected.probability.keys()
        for name, probability in expected.probability.items():
            np.testing.assert_array_equal(cell.answered.probability[name], probability)
        for field in ("cited", "reference", "baseline", "patient", "attention", "salience"):
            assert getattr(cell.answered.scored, field) == getattr(expected.scored, field)
        for field in ("label", "parsed"):
            np.testing.assert_array_equal(getattr(cell.answered.scored, field), getattr(expected.scored, field))


@pytest.mark.parametrize(("patients", "is_enough"), [(4, False), (5, True)])
@pytest.mark.parametrize("outcome", [0, 1])
def test_few_patients_of_an_outcome_give_a_value_and_nothing_that_scatters(
    patients: int, is_enough: bool, outcome: int
) -> None:
    rows = rows_of(1.0, 1)
    rare = {f"p{n:02d}" for n in range(patients)}  # of the 40; the first 20 have two cases each
    for row in rows:
        row["label"] = outcome if row["patient_id"] in rare else 1 - outcome
    uses = [*METRICS, MetricUse.registered("unparsed_rate", {})]
    found = evaluate(rows, uses, INTERVALS)
    for name in ("auroc", "auprc", "brier", "ece"):
        assert np.isfinite(found.points[name])
        assert np.isfinite(found.draws[name]).any() == is_enough
    assert np.isfinite(found.draws["unparsed_rate"]).all()


def test_parsed_answers_of_few_patients_with_the_event_are_counted_by_themselves() -> None:
    rows = rows_of(1.0, 1)
    events = sorted({row["patient_id"] for row in rows if row["label"]})
    assert len(events) > 6
    for row in rows:
        row["parsed"] = row["patient_id"] not in events[4:]
    found = evaluate(rows, METRICS, INTERVALS)
    assert np.isfinite(found.draws["brier"]).all()
    assert np.isnan(found.draws["brier:parsed_only"]).all()
