"""The suites' quick profiles on real records, cut down by `--limit`, from the command line to what a reader sees."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Finished

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("suite", "profile", "limit", "pairs"),
    [
        ("physionet2012_robustness", "quick", 400, 1),
        ("icu_unit_transfer", "quick", 1200, 24),
        ("cross_domain", "quick", None, 4),  # the demos are small enough
        ("cross_domain", "physionet_eicu_quick", 600, 4),
        ("cross_domain", "mimic_tjh_quick", 300, 4),  # SYNTHETIC on one side
    ],
)
def test_a_suite_runs_on_real_records(
    suite: str,
    profile: str,
    limit: int | None,
    pairs: int,
    tmp_path: Path,
    shared_data: Path,
    run_command: Callable[..., Finished],
) -> None:
    """Units, windows and tasks of the real pairs fit, no part of a split holds one class, every cell has numbers."""
    env = {
        "EAGBENCH_ICU_DEMO_ROOT": str(shared_data / "icu-demo"),
        "EAGBENCH_PHYSIONET2012_ROOT": str(shared_data / "physionet2012"),
        "EAGBENCH_TJH_ROOT": str(shared_data / "tjh"),
        "EAGBENCH_STORE": str(tmp_path / "store"),
    }
    cut = [] if limit is None else ["--limit", str(limit)]
    path = ROOT / "benchmarks" / f"{suite}.yaml"
    fewer = ["--set", "intervals.resamples=100"]
    done = run_command("run", path, "--profile", profile, *cut, *fewer, "--out", tmp_path / "out", env=env)
    assert done.code == 0, done.err
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    # Small subgroups and recalibration on few tuning cases have no numbers, nor has a slope where a fit does not end.
    headline = [
        row
        for row in rows
        if (row["subgroup"], row["calibration"]) == ("all", "none") and row["metric"] in ("auroc", "auprc", "brier")
    ]
    assert {row["status"] for row in headline} == {"ok"}
    assert len({(row["domain_train"], row["domain_eval"]) for row in rows}) == pairs
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["limit"], manifest["profile"], manifest["failed"]) == (limit, profile, [])
    page = (tmp_path / "out" / "report.html").read_text()
    assert ("SYNTHETIC" in page) is manifest["synthetic"] is ("mimic_tjh" in profile)
    assert re.findall(r"LIMITED TO ([\d,]+) PATIENTS", page)[:1] == ([] if limit is None else [f"{limit:,}"])
    auroc = [float(row["value"]) for row in headline if (row["metric"], row["method"]) == ("auroc", "lightgbm")]
    assert max(auroc) > 0.6  # in its own domain at least, trees find what is there
    if pairs > 1:
        with (tmp_path / "out" / "domains.csv").open(newline="") as stream:
            assert len(list(csv.DictReader(stream))) == pairs
