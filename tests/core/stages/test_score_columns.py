"""The columns that `score` adds for metrics of citations: answers about changed records, and the controls' overlap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eagbench.contracts.answers import HeldOutLabels, Prediction
from eagbench.contracts.records import Cases
from eagbench.contracts.stages import StageRun
from eagbench.stages.predict import write_predictions
from eagbench.stages.reread import REREAD_FILE
from eagbench.stages.salience import frequency_baseline, reference
from eagbench.stages.score import score
from eagbench.stages.scored_files import read_scored
from tests.builders import make_case, make_cohort_cases
from tests.core.stages.test_reread import Weighs

NAMES = ("a", "b", "c")
METRICS = ("citation_jaccard", "alignment_over_best_control", "citation_comprehensiveness", "brier")


def held_out() -> Cases:
    """For p and q the expert's list of one is a, for r, in whom a was not measured, it is c."""
    rows = {"p": [3, 1, 1], "q": [3, 1, 1], "r": [np.nan, 1, 3]}
    items = [make_case(dict(zip(NAMES, [[v] for v in row], strict=True)), case_id=key) for key, row in rows.items()]
    return make_cohort_cases(items, NAMES)


def scored(folder: Path, cited: dict[str, tuple[str, ...] | None]) -> dict[str, list]:
    """Score a method that cites as given, and return the table's columns."""
    predict, expert, again, out = (folder / name for name in ("predict", "expert", "again", "out"))
    for made in (predict, expert, again, out):
        made.mkdir()
    cases = held_out()
    given = [Prediction(key, 0.4, "greedy", names) for key, names in cited.items()]
    write_predictions(cases, given, predict)
    for stage in (frequency_baseline, reference):
        stage(StageRun({"k": 1}, {"cases": cases, "expert": expert}, 0, expert, component=Weighs()))
    columns = {"case_id": ["r", "q", "p"], "reread_as_is": [0.1, 0.2, 0.3], "reread_swapped_cited": [0.1, None, 0.7]}
    pq.write_table(pa.table(columns), again / REREAD_FILE)
    label = {"p": 1, "q": 0, "r": 0}
    labels = HeldOutLabels(label, {key: key for key in label}, dict.fromkeys(label, 0), {0: 0.5}, {})
    inputs = {"labels": labels, "predict": (predict,), "reread": (again,)}
    inputs |= {"reference_salience": (expert,), "frequency_baseline": (expert,)}
    params = {
        "metrics": [{"name": name, "params": {}, "code": ""} for name in METRICS],
        "intervals": {"resamples": 50, "level": 0.95, "seed": 0, "auroc": "logit"},
    }
    score(StageRun(params, inputs, 0, out))
    return read_scored(out).to_pydict()


def test_readings_are_joined_by_case_and_controls_know_what_was_measured(tmp_path: Path) -> None:
    found = scored(tmp_path, {"p": ("a",), "q": ("a",), "r": ("b",)})
    assert found["case_id"] == ["p", "q", "r"]
    assert found["reread_as_is"] == [0.3, 0.2, 0.1]
    assert found["reread_swapped_cited"] == [0.7, None, 0.1]
    # On top twice: a. In r it is cut, and refilled with c, which was on top once.
    assert found["overlap_of_refilled_baseline"] == [1.0, 1.0, 1.0]
    # For p: q's a is right and r's b is not; for r the list of p and q is cut and refilled with c.
    assert found["overlap_of_refilled_others"] == [0.5, 0.5, 1.0]
    assert found["overlap_of_similar_risk"] == [0.5, 0.5, 1.0]  # all answers are equal


def test_a_method_that_cites_nothing_has_no_controls(tmp_path: Path) -> None:
    found = scored(tmp_path, {"p": None, "q": None, "r": None})
    for column in ("overlap_of_refilled_baseline", "overlap_of_refilled_others", "overlap_of_similar_risk"):
        assert found[column] == [None, None, None]
    assert found["probability"] == pytest.approx([0.4, 0.4, 0.4])
