"""A disk that takes no more is said to be full, whoever notices it, and the same command goes on afterwards."""

from __future__ import annotations

import errno
import os
import pickle
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eagbench.errors import UserError
from eagbench.execution import store as store_module
from eagbench.execution.full_disk import DiskFullError, as_disk_full
from tests.conftest import Finished

Command = Callable[..., Finished]

BENCHMARK = """\
name: full
data: {{name: tjh, root: {root}}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2}}
methods: [logistic_regression]
intervals: {{resamples: 100}}
metrics: [auroc]
"""
SWEEP = """\
name: full
benchmark: full.yaml
space: {{methods.logistic_regression.inverse_penalty: {{float: [0.01, 1.0]}}}}
objectives: [{{metric: auroc}}]
trials: 2
"""
# What they really said when /tmp/full, a tmpfs of 1 MB, was full.
SAID = {
    "python": OSError(errno.ENOSPC, "No space left on device", "/data/store/a/b.json"),
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded", "/data/store/a/b.json"),
    "limit of size": OSError(errno.EFBIG, "File too large"),
    "read-only": OSError(errno.EROFS, "Read-only file system", "/data/store/a/b.json"),
    "pyarrow": OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device"),
    "polars": RuntimeError(
        "parquet: File out of specification: underlying IO error: No space left on device (os error 28)"
    ),
    "polars, CSV": OSError("No space left on device (os error 28)"),
    "safetensors": Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
    "numpy": OSError("1000000 requested and 131056 written"),
    "torch": RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 576 vs 534"),
    "torch, data": RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    "lightgbm": Exception("Cannot write binary data to /tmp/full/m.txt, wrote 1048576 of 1370518 bytes"),
    "xgboost": Exception(
        "[01:01:17] dmlc-core/src/io/local_filesys.cc:37: Check failed: std::fwrite(ptr, 1, size, fp_) == size: "
        "FileStream.Write incomplete"
    ),
    "sqlite": Exception("database or disk is full"),
    "sqlalchemy": Exception("(sqlite3.OperationalError) database or disk is full\n[SQL: insert into t values (?)]"),
    "tempfile": FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
}
# Runs the commands on a small disk of their own, which is gone when they end; then they have all the room they want.
SMALL_DISK = """
mount -t tmpfs -o size={size} tmpfs {folder} || exit 99
{first}
echo "code $?"
mount -o remount,size=400m {folder}
{again}
echo "code $?"
"""


@pytest.mark.parametrize("name", SAID)
def test_what_each_library_says(name: str) -> None:
    found = as_disk_full(SAID[name], (Path("/data/elsewhere"),))
    assert found is not None
    assert str(found.folder) in ("/data/store/a", "/data/elsewhere")
    assert str(found).count("\n") == 0
    back = pickle.loads(pickle.dumps(found))
    assert (back.what, back.folder) == (found.what, found.folder)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "No such file or directory", "/a"),
        OSError(errno.EACCES, "Permission denied", "/a"),
        ValueError("the server says: no space left"),
        UserError("No space left on device (os error 28)"),
        KeyError(28),
        OSError(),
    ],
)
def test_other_errors_are_none(error: Exception) -> None:
    assert as_disk_full(error) is None


def test_what_another_error_was_raised_from() -> None:
    def wrapped(cause: Exception, outer: Exception) -> BaseException:
        try:
            try:
                raise cause
            except Exception as error:
                raise outer from error
        except Exception as error:  # noqa: BLE001
            return error

    full = as_disk_full(wrapped(SAID["python"], UserError("the file can't be read")))
    assert full is not None
    assert full.what == "the disk is full (No space left on device)"
    assert as_disk_full(wrapped(SAID["read-only"], UserError("the store can't be made"))) is None
    assert as_disk_full(wrapped(SAID["read-only"], RuntimeError("half written"))) is not None
    assert as_disk_full(wrapped(DiskFullError("the disk is full", Path("/x")), RuntimeError("x"))) is not None


@pytest.fixture
def benchmark_file(tmp_path: Path, shared_data: Path) -> Path:
    path = tmp_path / "full.yaml"
    path.write_text(BENCHMARK.format(root=shared_data / "tjh"))
    (tmp_path / "sweep.yaml").write_text(SWEEP.format())
    return path


@pytest.fixture(scope="session")
def can_mount() -> bool:
    """Whether this machine lets its user mount a small disk, in a namespace of its own."""
    script = "mount -t tmpfs -o size=1m tmpfs /tmp"
    return shutil.which("unshare") is not None and subprocess.run([*_unshare(), "sh", "-c", script]).returncode == 0


def _unshare() -> list[str]:
    return ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


def on_small_disk(folder: Path, size: str, *arguments: object) -> tuple[Finished, int]:
    """Run a command whose store is on a disk of some size, and again when the disk has room."""
    folder.mkdir(exist_ok=True)
    command = shlex.join([sys.executable, "-m", "eagbench", *map(str, arguments)])
    script = SMALL_DISK.format(size=size, folder=folder, first=command, again=f"{command} >/dev/null 2>&1")
    done = subprocess.run(
        [*_unshare(), "sh", "-c", script],
        env={**os.environ, "EAGBENCH_STORE": str(folder / "store")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    codes = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("code ")]
    assert len(codes) == 2, done
    return Finished(codes[0], done.stdout, done.stderr), codes[1]


def check_full(done: tuple[Finished, int], folder: Path) -> None:
    first, again = done
    assert first.code == 74, first
    assert "Traceback" not in first.err
    (line,) = [line for line in first.err.splitlines() if line.startswith("error: ")]
    assert str(folder) in line
    assert line.endswith(("the disk is full (No space left on device)", "the disk is full, here or in the store"))
    assert "make room there; the same command" in first.err
    assert again == 0


def test_a_run_on_a_full_disk(tmp_path: Path, benchmark_file: Path, can_mount: bool) -> None:
    if not can_mount:
        pytest.skip("no small disk can be mounted here")
    folder = tmp_path / "disk"
    done = on_small_disk(folder, "100k", "run", benchmark_file, "--out", folder / "out", "--quiet", "--workers", 2)
    check_full(done, folder)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["4k", "32k", "160k", "200k", "240k", "280k"])
def test_a_run_that_fills_the_disk_at_many_points(
    size: str, tmp_path: Path, benchmark_file: Path, can_mount: bool
) -> None:
    if not can_mount:
        pytest.skip("no small disk can be mounted here")
    folder = tmp_path / "disk"
    check_full(on_small_disk(folder, size, "run", benchmark_file, "--out", folder / "out", "--quiet"), folder)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "jobs"), [("100k", 1), ("330k", 1), ("330k", 2)])
def test_a_sweep_on_a_full_disk(size: str, jobs: int, tmp_path: Path, benchmark_file: Path, can_mount: bool) -> None:
    if not can_mount:
        pytest.skip("no small disk can be mounted here")
    folder = tmp_path / "disk"
    sweep = benchmark_file.with_name("sweep.yaml")
    done = on_small_disk(folder, size, "sweep", sweep, "--out", folder / "out", "--jobs", jobs, "--quiet")
    check_full(done, folder)


def test_a_limit_of_file_size(tmp_path: Path, benchmark_file: Path) -> None:
    command = shlex.join([sys.executable, "-m", "eagbench", "run", str(benchmark_file), "--out", str(tmp_path / "out")])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 40; {command} --quiet"],
        env={**os.environ, "EAGBENCH_STORE": str(tmp_path / "store"), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 74, done
    assert "a file would become larger than is allowed here" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EDQUOT, "the disk quota is used up"), (errno.EROFS, "the file system can only be read")],
)
def test_its_kin(
    number: int,
    words: str,
    benchmark_file: Path,
    tmp_path: Path,
    cli: Command,
    store_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(path: Path, text: str) -> None:
        del text
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(store_module, "replace_text", refuses)
    done = cli("run", benchmark_file, "--out", tmp_path / "out", "--quiet")
    assert done.code == 74, done
    assert f"{store_folder}/content/" in done.err
    assert words in done.err
    assert "Traceback" not in done.err


def test_standard_output_on_a_full_disk(benchmark_file: Path, store_folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "eagbench", "plan", str(benchmark_file)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=600,
        )
    assert done.returncode == 74, done
    assert done.stderr.count("the disk is full") == 1
    assert "Traceback" not in done.stderr
