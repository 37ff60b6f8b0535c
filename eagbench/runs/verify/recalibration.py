"""Refit recalibrations on the tuning answers in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from eagbench.runs.schema import TUNING_PREDICTIONS
from eagbench.runs.verify.findings import TOLERANCE, Findings
from eagbench.stages.parquet_files import read_parquet
from eagbench.stats.recalibration import fit_recalibration


def check_recalibration(folder: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    """Check that every curve follows from its tuning answers, and every recalibrated answer from its curve."""
    fitted = manifest.get("recalibration", [])
    if not fitted:
        return
    tuning = read_parquet(folder / TUNING_PREDICTIONS).to_pylist()
    patients = read_parquet(folder / "patients.parquet").to_pylist()
    parts = {(row["domain"], row["fold"], row["part"], row["case_id"]) for row in patients}
    for curve in fitted:
        method, seed, domain, fold = (curve[key] for key in ("method", "seed", "domain_train", "fold"))
        where = f"recalibration of {method}, seed {seed}, fold {fold}"
        keys = {"method": method, "seed": seed, "domain_train": domain, "fold": fold}
        mine = [row for row in tuning if all(row[key] == value for key, value in keys.items())]
        if any((domain, fold, "tuning", row["case_id"]) not in parts for row in mine):
            findings.problems.append(f"{where}: fitted on other cases than those of the tuning part")
        again = fit_recalibration(
            np.array([row["probability"] for row in mine], dtype=np.float64),
            np.array([row["label"] for row in mine], dtype=np.int64),
        )
        for name, expected in asdict(again).items():
            same = (
                bool(np.isclose(curve[name], expected, rtol=0, atol=TOLERANCE))
                if isinstance(expected, float) and curve[name] is not None
                else curve[name] == expected
            )
            if not same:
                findings.problems.append(f"{where}: {name} is {curve[name]!r}, recomputed {expected!r}")
        path = folder / "predictions" / f"{method}.parquet"
        if again.slope is not None and path.is_file():
            filters = [("seed", "==", str(seed)), ("domain_train", "==", domain), ("fold", "==", fold)]
            columns = ["probability", "recalibrated", "parsed"]
            rows = [r for r in pq.read_table(path, columns=columns, filters=filters).to_pylist() if r["parsed"]]
            laid = [row for row in rows if row["recalibrated"] is not None]  # none if another fold has no curve
            curve_of = again.apply(np.array([row["probability"] for row in laid], dtype=np.float64))
            stored = np.array([row["recalibrated"] for row in laid], dtype=np.float64)
            if not np.allclose(curve_of, stored, rtol=0, atol=TOLERANCE):
                findings.problems.append(f"{where}: the recalibrated answers are not those of its curve")
        findings.count("recalibrations fitted again")
