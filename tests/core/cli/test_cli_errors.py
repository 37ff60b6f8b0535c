"""Bad input: one clear message, exit code 2, nothing half-written. A bug: exit code 70 with its traceback."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Finished

BENCHMARK = """\
name: errors
data: {{name: physionet2012, root: {root}}}
split: {{train: 0.7, tuning: 0.1, held_out: 0.2}}
methods:
  - {{name: lightgbm, num_leaves: 7}}
conditions: [clean]
seeds: [0]
metrics: [auroc]
"""

Cli = Callable[..., Finished]


@pytest.fixture
def benchmark(tmp_path: Path, physionet_root: Path, store_folder: Path) -> Path:
    path = tmp_path / "errors.yaml"
    path.write_text(BENCHMARK.format(root=physionet_root))
    return path


def refused(cli: Cli, tmp_path: Path, *arguments: object) -> str:
    """The message of a run that must be refused; nothing may be left behind."""
    out = tmp_path / "out"
    finished = cli("run", *arguments, *(() if "--out" in arguments else ("--out", out)))
    assert finished.code == 2, finished
    assert finished.out == ""
    lines = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, finished.err
    assert "Traceback" not in finished.err
    assert not out.exists()
    assert not list((tmp_path / "store").glob("*/*.partial"))
    return finished.err[finished.err.index("error: ") :]


def edited(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        (
            "name: lightgbm,",
            "name: lightgmb,",
            ["errors.yaml:5", "no method or expert called 'lightgmb'", "'lightgbm'"],
        ),
        ("name: physionet2012", "name: physionet", ["errors.yaml:2", "no dataset called", "'physionet2012'"]),
        ("[auroc]", "[aurocc]", ["errors.yaml:8", "no metric called", "'auroc'"]),
        ("num_leaves: 7", "num_leaves: many", ["errors.yaml:5", "num_leaves", "valid integer", "'many'"]),
        ("num_leaves: 7", "num_leafs: 7", ["errors.yaml:5", "unknown key", "num_leafs", "did you mean 'num_leaves'"]),
        ("metrics:", "metricks:", ["errors.yaml:8", "unknown key 'metricks'", "did you mean 'metrics'"]),
        ("[clean]", "[clean, {name: missing_values, severity: [7]}]", ["errors.yaml:6", "no severity 7"]),
    ],
)
def test_mistakes_in_the_file(cli: Cli, tmp_path: Path, benchmark: Path, old: str, new: str, parts: list[str]) -> None:
    message = refused(cli, tmp_path, edited(benchmark, old, new))
    for part in parts:
        assert part in message


def test_a_yaml_that_is_no_mapping(cli: Cli, tmp_path: Path, store_folder: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- a\n- b\n")
    assert "a benchmark is a mapping" in refused(cli, tmp_path, path)


def test_a_benchmark_that_is_not_there(cli: Cli, tmp_path: Path, store_folder: Path) -> None:
    assert "can't be read: No such file" in refused(cli, tmp_path, tmp_path / "none.yaml")


def test_a_missing_data_root(cli: Cli, tmp_path: Path, benchmark: Path) -> None:
    message = refused(cli, tmp_path, benchmark, "--set", f"data.root={tmp_path / 'nowhere'}")
    assert "nowhere" in message


def copied(root: Path, folder: Path) -> Path:
    shutil.copytree(root, folder)
    return folder


def test_a_table_that_lacks_a_column(cli: Cli, tmp_path: Path, benchmark: Path, physionet_root: Path) -> None:
    root = copied(physionet_root, tmp_path / "data")
    edited(root / "Outcomes-a.txt", "In-hospital_death", "Death")
    message = refused(cli, tmp_path, benchmark, "--set", f"data.root={root}")
    assert "In-hospital_death" in message
    assert "Outcomes-a.txt" in message


def test_a_corrupt_archive(cli: Cli, tmp_path: Path, benchmark: Path, physionet_root: Path) -> None:
    root = copied(physionet_root, tmp_path / "data")
    archive = root / "set-a.tar.gz"
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    assert "set-a.tar.gz" in refused(cli, tmp_path, benchmark, "--set", f"data.root={root}")


def rewritten(root: Path, folder: Path, change: Callable[[str], str]) -> Path:
    """A copy of the data with every record's text changed."""
    copied(root, folder)
    with tarfile.open(root / "set-a.tar.gz") as source, tarfile.open(folder / "set-a.tar.gz", "w:gz") as target:
        for member in source.getmembers():
            stream = source.extractfile(member)
            assert stream is not None
            content = change(stream.read().decode()).encode()
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return folder


def test_a_feature_in_another_unit(cli: Cli, tmp_path: Path, benchmark: Path, physionet_root: Path) -> None:
    def to_fahrenheit(text: str) -> str:
        lines = [line.split(",") for line in text.splitlines()]
        return "\n".join(",".join([t, p, f"{float(v) * 9 / 5 + 32:.1f}" if p == "Temp" else v]) for t, p, v in lines)

    root = rewritten(physionet_root, tmp_path / "data", to_fahrenheit)
    message = refused(cli, tmp_path, benchmark, "--set", f"data.root={root}")
    assert "temperature" in message
    assert "degC" in message


def test_records_without_measurements(cli: Cli, tmp_path: Path, benchmark: Path, physionet_root: Path) -> None:
    def only_descriptors(text: str) -> str:
        kept = ("RecordID", "Age", "Gender", "Height", "ICUType")
        head, *rows = text.splitlines()
        return "\n".join([head, *(row for row in rows if row.split(",")[1] in kept), "00:00,Weight,-1"]) + "\n"

    root = rewritten(physionet_root, tmp_path / "data", only_descriptors)
    message = refused(cli, tmp_path, benchmark, "--set", f"data.root={root}")
    assert "no record holds a measurement" in message


def test_an_empty_cohort(cli: Cli, tmp_path: Path, benchmark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eagbench_plugins.datasets.physionet2012 import PhysioNet2012

    loaded = PhysioNet2012.load

    def without_cases(*arguments: object) -> object:
        cohort = loaded(*arguments)  # type: ignore[arg-type]
        exclusions = (("too young", len(cohort.cases)),)
        provenance = dataclasses.replace(cohort.provenance, exclusions=exclusions)
        return dataclasses.replace(
            cohort,
            cases=cohort.cases.with_items([]),
            labels=cohort.labels[:0],
            provenance=provenance,
            groups=dict.fromkeys(cohort.groups, ()),
            reference_probabilities=dict.fromkeys(cohort.reference_probabilities, np.zeros(0)),
        )

    monkeypatch.setattr(PhysioNet2012, "load", without_cases)
    message = refused(cli, tmp_path, benchmark)
    assert "the cohort is empty: 400 patients read, cases left out: " in message
    assert "too young" in message


def test_a_split_with_one_class(cli: Cli, tmp_path: Path, benchmark: Path) -> None:
    message = refused(cli, tmp_path, benchmark, "--limit", "12")
    assert "one class only" in message or "can't be divided" in message


def test_an_output_that_can_not_be_written(cli: Cli, tmp_path: Path, benchmark: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "output" in refused(cli, tmp_path, benchmark, "--out", tmp_path / "file")
    assert "can't be written" in refused(cli, tmp_path, benchmark, "--out", tmp_path / "file" / "below")
    if Path("/proc/self").exists():
        assert "can't be written" in refused(cli, tmp_path, benchmark, "--out", "/proc/eagbench")


def test_an_output_that_holds_something_else(cli: Cli, tmp_path: Path, benchmark: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    keys = ("methods", "metrics", "conditions", "data", "intervals", "seeds")
    manifest = {"name": "another_benchmark", **{key: [] for key in keys}}
    (other / "manifest.json").write_text(json.dumps(manifest))
    message = refused(cli, tmp_path, benchmark, "--out", other)
    assert "holds a run of the benchmark 'another_benchmark', not of 'errors'" in message
    (other / "manifest.json").rename(other / "thesis.tex")
    assert "holds files and is not a run folder" in refused(cli, tmp_path, benchmark, "--out", other)
    assert [p.name for p in other.iterdir()] == ["thesis.tex"]


def test_a_bug_shows_its_traceback(cli: Cli, benchmark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("eagbench.session.running.make_plan", fail)
    finished = cli("run", benchmark)
    assert finished.code == 70
    assert "ZeroDivisionError: a bug" in finished.err
    assert "Traceback" in finished.err


def test_a_bug_in_a_shared_stage_is_no_failed_cell(
    cli: Cli, tmp_path: Path, benchmark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug in the loader")

    monkeypatch.setattr("eagbench_plugins.datasets.physionet2012.PhysioNet2012.load", fail)
    finished = cli("run", benchmark, "--out", tmp_path / "out")
    assert finished.code == 70
    assert "ZeroDivisionError: a bug in the loader" in finished.err
    assert "stage cohort 'physionet2012' failed" in finished.err
    assert "failed in execute" not in finished.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [("run",), ("run", "x.yaml", "--no-such-option"), ("data", "describe", "none")])
def test_wrong_words_on_the_command_line(cli: Cli, arguments: tuple[str, ...]) -> None:
    finished = cli(*arguments)
    assert finished.code == 2
    assert "Traceback" not in finished.err
