"""What is copied from stages into a run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.runs.copies import TUNING_SCHEMA, tuning_answers
from eagbench.stages.recalibration import TUNING


def test_a_seed_that_answered_no_tuning_case_is_copied_beside_one_that_did(tmp_path: Path) -> None:
    for seed, cases in enumerate((["a", "b"], [])):
        (tmp_path / str(seed)).mkdir()
        columns = {"case_id": cases, "probability": np.full(len(cases), 0.5), "label": np.zeros(len(cases), dtype=int)}
        pq.write_table(pa.table(columns), tmp_path / str(seed) / TUNING)
    keys = {"method": "m", "domain_train": "d", "fold": 0}
    order = ("method", "seed", "domain_train", "fold")
    tables = [
        tuning_answers({key: {**keys, "seed": seed}[key] for key in order}, tmp_path / str(seed)) for seed in (0, 1)
    ]
    whole = pa.concat_tables(tables)
    assert whole.schema == TUNING_SCHEMA
    assert whole["case_id"].to_pylist() == ["a", "b"]
