"""A bundle of a whole run, with texts, subgroups and folds: nothing of the run's cases is in any of its files."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.credentialed_data import eagbench, open_paths, write_benchmark, write_private

MORE = """\
subgroups: {by: [sex, ward], minimum_cases: 5, minimum_positive: 2}
recalibrate: true
comparisons: {method: lightgbm, metric: auroc}
attestation: Nobody at Ward Seventeen objects.
"""


@pytest.mark.slow
def test_no_file_of_a_bundle_holds_anything_of_a_case(tmp_path: Path) -> None:
    private = write_private(tmp_path / "data", n=300)
    methods = "logistic_regression, lightgbm, {name: prompt, as: prompted}"
    path = write_benchmark(tmp_path / "b.yaml", private, methods, MORE)
    done = eagbench("run", path, "--out", "run", folder=tmp_path)
    assert done.code == 0, done.err
    assert open_paths(tmp_path / "run") == open_paths(tmp_path / "store") == []
    assert private.found_in(done.out + done.err) == []
    exported = eagbench("export", "run", "--out", "bundle.zip", folder=tmp_path)
    assert exported.code == 0, exported.err
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    held = "\n".join(texts.values())
    pictures = {name for name in texts if name.startswith("bundle/figures/")}
    assert len(texts) - len(pictures) == 8
    assert {Path(name).stem for name in pictures} <= {"performance", "differences", "subgroups"}
    assert private.found_in(held) == []
    assert [text for text in written(tmp_path / "run") if text in held] == []
    hashes = re.findall(r'"patients_sha256": "(\w+)"', (tmp_path / "run" / "manifest.json").read_text())
    assert hashes
    assert not any(value in held or value[:12] in held for value in hashes)
    assert str(tmp_path) not in held
    assert "Seventeen" not in held
    assert shows_no_few(texts["bundle/results.csv"])
    assert eagbench("report", "run", folder=tmp_path).code == 0
    assert open_paths(tmp_path / "run") == []


def written(run: Path) -> set[str]:
    """What methods wrote, in parts of 25 characters, and every probability to the digits that a table would show."""
    parts = set()
    for path in (run / "trajectories").glob("*.jsonl"):
        for line in path.read_text().splitlines():
            text = json.loads(line)["text"]
            parts |= {text[i : i + 25] for i in range(0, len(text) - 25, 25)}
    for path in (run / "predictions").glob("*.parquet"):
        parts |= {f"{p:.7f}" for p in pq.read_table(path)["probability"].to_pylist() if p is not None and 0 < p < 1}
    assert len(parts) > 100
    return parts


def shows_no_few(results: str) -> bool:
    header, *rows = (line.split(",") for line in results.splitlines())
    at = [header.index(name) for name in ("n_cases", "n_positive")]
    pairs = [(int(row[at[0]]), int(row[at[1]])) for row in rows if row[at[0]]]
    return bool(pairs) and not any(0 < n < 11 for cases, events in pairs for n in (cases, events, cases - events))
