"""Fixtures that several test files share. Expensive ones are made once per session, whatever the number of workers."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Two workers share two cores: with threads of their own they would wait for each other. Set before torch is imported,
# and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

# How fast a machine is that does other things beside decides no test.
settings.register_profile("eagbench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("eagbench")

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
# Packages of their own, with tests of their own: test_third_party.py installs and runs them.
collect_ignore = ["third_party"]
N_RECORDS = 400


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all xdist workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The open data beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the open data (../shared/data) are not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def physionet_root(shared_folder: Path, shared_data: Path) -> Path:
    """The first 400 records of PhysioNet 2012 in the published layout: real, and quick to load."""
    root = shared_folder / "physionet2012"
    with FileLock(shared_folder / "physionet2012.lock"):
        if (root / "set-a.tar.gz").is_file():
            return root
        root.mkdir(exist_ok=True)
        source = shared_data / "physionet2012"
        with tarfile.open(source / "set-a.tar.gz") as archive, tarfile.open(root / "part", "w:gz") as part:
            files = sorted((m for m in archive.getmembers() if m.isfile()), key=lambda m: m.name)[:N_RECORDS]
            kept = {Path(member.name).stem for member in files}
            for member in files:
                stream = archive.extractfile(member)
                assert stream is not None
                part.addfile(member, io.BytesIO(stream.read()))
        header, *rows = (source / "Outcomes-a.txt").read_text().splitlines()
        rows = [row for row in rows if row.split(",")[0] in kept]
        (root / "Outcomes-a.txt").write_text("\n".join([header, *rows]) + "\n")
        (root / "part").rename(root / "set-a.tar.gz")
    return root


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """Runs the command line in this process, up to its exit code."""

    def call(*arguments: object) -> Finished:
        from eagbench.cli.main import main

        monkeypatch.setattr(sys, "argv", ["eagbench", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return call


@pytest.fixture
def store_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store of this test's own."""
    folder = tmp_path / "store"
    monkeypatch.setenv("EAGBENCH_STORE", str(folder))
    return folder


@pytest.fixture(scope="session")
def run_command() -> Callable[..., Finished]:
    """Runs the command line in a process of its own."""

    def call(*arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "eagbench", *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=600,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def third_party(shared_folder: Path) -> dict[str, str]:
    """The packages below tests/third_party, installed by pip beside the environment; the variables that add them."""
    target = shared_folder / "third_party"
    with FileLock(shared_folder / "third_party.lock"):
        if not target.is_dir():
            packages = [str(p) for p in sorted((ROOT / "tests" / "third_party").iterdir()) if p.is_dir()]
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
            subprocess.run([*command, "--target", str(target), *packages], check=True, timeout=300)
    paths = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}
