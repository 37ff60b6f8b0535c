"""A PostgreSQL server of one's own on a free port, from the system's packages."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PASSWORD = "correct-horse-battery"  # of a server that lives as long as a test


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listens."""

    port: int

    def url(self, password: str = PASSWORD) -> str:
        return f"postgresql://tester:{password}@127.0.0.1:{self.port}/postgres"


@contextmanager
def server() -> Iterator[Server]:
    """Start a server with one user, who has a password; it ends with the block. Skips where there is no PostgreSQL."""
    programs = _programs()
    as_user = {"user": "postgres" if _is_known("postgres") else "nobody"} if os.getuid() == 0 else {}
    # Below /tmp itself, since the server's user may not enter the folders of tests.
    folder = Path(tempfile.mkdtemp(prefix="eagbench-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if as_user:
            for path in (folder, folder / "password"):
                shutil.chown(path, as_user["user"])
        _run([programs / "initdb", "-D", folder / "data", "-U", "tester", "--auth=scram-sha-256",
              f"--pwfile={folder / 'password'}", "--no-sync"], **as_user)  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = [f"-p{port}", "-h127.0.0.1", f"-k{folder}", "-F"]
        process = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(folder / "data"), *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **as_user,
        )  # fmt: skip
        try:
            _wait(port, process)
            yield Server(port)
        finally:
            process.send_signal(signal.SIGINT)  # without waiting for whoever is connected
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Find the folder of the server's programs."""
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    on_path = shutil.which("initdb")
    places += [Path(on_path).parent] if on_path else []
    for place in places:
        if (place / "initdb").is_file() and (place / "postgres").is_file():
            return place
    pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")


def _is_known(name: str) -> bool:
    import pwd

    return any(entry.pw_name == name for entry in pwd.getpwall())


def _run(command: list[object], **as_user: str) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True, cwd="/", **as_user)  # type: ignore[call-overload]


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "the server ended"
        with socket.socket() as place:
            if place.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert time.monotonic() < deadline
        time.sleep(0.1)
