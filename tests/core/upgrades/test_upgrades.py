"""Run folders and stores that earlier versions left open, or are refused in one sentence.

The archives are made by scripts/upgrade_fixture from records that are SYNTHETIC. Run folders of a7a2053 are of format
1, those of e789fd6 of format 2; both stores are of format 1.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from eagbench.execution.stage_files import MANIFEST
from eagbench.execution.store import Store
from eagbench.execution.store_format import FORMAT as STORE_FORMAT
from eagbench.execution.store_format import read_format
from eagbench.runs.schema import FORMAT as RUN_FORMAT
from tests.conftest import Finished

ARCHIVES = sorted(Path(__file__).parent.glob("*.tar.xz"))
FORMATS = {"a7a2053": 1, "e789fd6": 2}  # of run folders
Cli = Callable[..., Finished]


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.partition(".")[0])
def left(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The revision, and the folder of what it left: `run` and `store`."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return request.param.name.partition(".")[0], tmp_path


def test_every_version_is_here_and_small() -> None:
    assert {path.name.partition(".")[0] for path in ARCHIVES} == set(FORMATS)
    assert sum(path.stat().st_size for path in ARCHIVES) < 100_000


def test_a_run_folder_opens_and_verify_says_if_it_can_not_prove_it(left: tuple[str, Path], cli: Cli) -> None:
    revision, folder = left
    assert json.loads((folder / "run" / "manifest.json").read_text()).get("format", 1) == FORMATS[revision]
    done = cli("report", folder / "run", "--format", "md")
    assert done.code == 0, done.err
    assert "logistic_regression" in done.out
    assert cli("report", folder / "run").code == 0
    done = cli("compare", folder / "run", folder / "run", "--metric", "auroc")
    assert done.code == 0, done.err
    done = cli("verify", folder / "run")
    if FORMATS[revision] == RUN_FORMAT:
        assert done.code == 0, done.out
    else:
        assert done.code == 2
        assert "this run was made by eagbench 0.1.0, which recorded other facts for the proof" in done.err


def test_a_store_opens_and_its_stages_are_whole(left: tuple[str, Path], cli: Cli) -> None:
    _, folder = left
    assert read_format(folder / "store") == 1
    done = cli("store", "check", "--store", folder / "store")
    assert done.code == 0, done.out
    assert re.search(r"\d\d finished stages checked, nothing damaged", done.out)
    stage = next(path for path in Store.existing(folder / "store").finished() if path.parent.name == "expert")
    model = next(path for path in stage.iterdir() if path.name != MANIFEST)
    model.write_bytes(model.read_bytes()[:-1])
    done = cli("store", "check", "--store", folder / "store")
    assert done.code == 1
    assert f"expert/{stage.name}): {model.name} was changed" in done.out


def test_a_command_goes_on_in_a_store_of_an_earlier_version(
    left: tuple[str, Path], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stages are of other code, so they are stale, and nothing of them is in the way."""
    _, folder = left
    monkeypatch.setenv("EAGBENCH_STORE", str(folder / "store"))
    benchmark = tmp_path / "again.yaml"
    benchmark.write_text(
        "name: again\ndata: {name: mimic4, root: synthetic, synthetic_patients: 120}\nmethods: [lightgbm]\n"
        "split: {train: 0.5, tuning: 0.2, held_out: 0.3}\nmetrics: [auroc]\n"
    )
    done = cli("plan", benchmark)
    assert done.code == 0, done.err
    assert re.search(r"lightgbm, seed 0 +to do, about \d+ s", done.out)  # as it took there
    assert read_format(folder / "store") == STORE_FORMAT


@pytest.mark.parametrize("command", ["report", "verify", "compare", "run"])
def test_a_run_folder_of_a_newer_format_is_refused_in_one_sentence(
    command: str, cli: Cli, tmp_path: Path, store_folder: Path
) -> None:
    with tarfile.open(ARCHIVES[-1]) as archive:
        archive.extractall(tmp_path / "left", filter="data")
    run = tmp_path / "left" / "run"
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "format": RUN_FORMAT + 1, "eagbench_version": "9.1"}))
    benchmark = tmp_path / "upgrade.yaml"
    benchmark.write_text(
        "name: upgrade\ndata: {name: mimic4, root: synthetic}\nmethods: [lightgbm]\nmetrics: [auroc]\n"
    )
    arguments = {"compare": (run, run), "run": (benchmark, "--out", run)}.get(command, (run,))
    done = cli(command, *arguments)
    assert done.code == 2
    assert f"this run folder has format {RUN_FORMAT + 1}; this eagbench knows formats up to {RUN_FORMAT}" in done.err
    assert "use eagbench 9.1 or newer" in done.err
    assert not store_folder.exists()
