"""`eagbench data fetch` as a user types it, from a server on loopback in place of the origin."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.conftest import Finished
from tests.file_server import Fault, FileServer

Cli = Callable[..., Finished]
TJH = "time_series_375_prerpocess_en.xlsx"


@pytest.fixture
def serve() -> Iterator[Callable[[Mapping[str, bytes]], FileServer]]:
    servers: list[FileServer] = []

    def start(files: Mapping[str, bytes]) -> FileServer:
        servers.append(FileServer(files))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def tjh(serve: Callable[[Mapping[str, bytes]], FileServer], shared_data: Path) -> FileServer:
    return serve({TJH: (shared_data / "tjh" / TJH).read_bytes()})


def printed_data(out: str) -> dict[str, object]:
    [line] = [line for line in out.splitlines() if line.startswith("data: ")]
    data: dict[str, object] = yaml.safe_load(line)["data"]
    return data


def test_what_can_be_fetched_is_listed(cli: Cli) -> None:
    listed = cli("data", "fetch")
    assert listed.code == 0
    names = {line.split()[0] for line in listed.out.splitlines() if "read by" in line}
    assert {"eicu-demo", "mimic4-demo", "physionet2012", "tjh"} <= names
    refused = cli("data", "fetch", "tjhh")
    assert refused.code == 2
    assert "did you mean 'tjh'?" in refused.err


def test_without_a_terminal_the_licence_is_accepted_in_words(cli: Cli, tmp_path: Path) -> None:
    refused = cli("data", "fetch", "tjh", "--to", tmp_path / "tjh", "--from", tmp_path)
    assert refused.code == 2
    assert "licence: MIT, https://" in refused.err
    assert "--accept-licence" in refused.err
    assert not (tmp_path / "tjh").exists()


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2)])
def test_on_a_terminal_it_asks(tjh: FileServer, tmp_path: Path, answer: str, code: int) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "eagbench", "data", "fetch", "tjh", "--to", str(tmp_path / "tjh")]
    asking = subprocess.Popen(
        [*command, "--from", tjh.url], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    out, err = asking.communicate(timeout=120)
    os.close(ours)
    assert asking.returncode == code, err
    assert "Do you accept the licence? [y/N]" in err
    assert "Do you accept" not in out
    record = tmp_path / "tjh" / "eagbench_source.json"
    assert record.is_file() == (code == 0)
    if code == 0:
        assert json.loads(record.read_text())["licence"]["accepted_by"] == "prompt"


def test_fetched_files_are_what_a_benchmark_reads(cli: Cli, tjh: FileServer, tmp_path: Path) -> None:
    folder = tmp_path / "tjh"
    fetched = cli("data", "fetch", "tjh", "--to", folder, "--from", tjh.url, "--accept-licence")
    assert fetched.code == 0, fetched.err
    assert "by hashes that eagbench knows, these are the published files" in fetched.out
    assert printed_data(fetched.out) == {"name": "tjh", "root": str(folder)}
    assert "patients read 375, cases 326" in cli("data", "check", "tjh", "--set", f"root={folder}").out
    again = cli("data", "fetch", "tjh", "--to", folder)
    assert again.code == 0, again.err
    assert "here, and whole" in again.err
    assert "licence" not in again.err  # it was accepted
    assert len(tjh.asked) == 1


def test_physionet2012_is_fetched_and_loads(
    cli: Cli, serve: Callable[[Mapping[str, bytes]], FileServer], shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "physionet2012"
    server = serve({path.name: path.read_bytes() for path in source.iterdir()})
    server.answer = lambda asked, count: Fault(cut=1_000_000 if asked.path.startswith("set") else None)
    folder = tmp_path / "physionet2012"
    fetched = cli("data", "fetch", "physionet2012", "--to", folder, "--from", server.url + "/", "--accept-licence")
    assert fetched.code == 0, fetched.err
    assert server.sent == sum(len(content) for content in server.files.values())
    assert "patients read 4000" in cli("data", "check", "physionet2012", "--set", f"root={folder}").out


VITALS = {
    "vitalPeriodic.csv": "vitalperiodicid,patientunitstayid,observationoffset,temperature,sao2,heartrate,respiration,"
    "cvp,etco2,systemicsystolic,systemicdiastolic,systemicmean,pasystolic,padiastolic,pamean,st1,st2,st3,icp\n",
    "vitalAperiodic.csv": "vitalaperiodicid,patientunitstayid,observationoffset,noninvasivesystolic,"
    "noninvasivediastolic,noninvasivemean,paop,cardiacoutput,cardiacinput,svr,svri,pvr,pvri\n",
}


def test_the_eicu_demo_is_fetched_and_loads(
    cli: Cli, serve: Callable[[Mapping[str, bytes]], FileServer], shared_data: Path, tmp_path: Path
) -> None:
    """Its published files, gzipped, and empty tables of vital signs, which the subset lacks."""
    demo = shared_data / "eicu-crd-demo"
    plain = {path: (demo / path).read_bytes() for path in ("patient.csv", "lab.csv", "physicalExam.csv")}
    files = {f"{path}.gz": gzip.compress(content, mtime=0) for path, content in plain.items()}
    files |= {f"{path}.gz": gzip.compress(header.encode(), mtime=0) for path, header in VITALS.items()}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()} {path}\n" for path, content in files.items())
    server = serve({**files, "SHA256SUMS.txt": sums.encode()})
    server.answer = lambda asked, count: Fault(headers={"Content-Encoding": "gzip"})
    folder = tmp_path / "eicu"
    fetched = cli("data", "fetch", "eicu-demo", "--to", folder, "--from", server.url, "--accept-licence")
    assert fetched.code == 0, fetched.err
    assert "as SHA256SUMS.txt of the same place lists them" in fetched.out
    data = printed_data(fetched.out)
    assert data == {"name": "eicu", "root": str(folder), "access": "open"}
    sets = [part for key in ("root", "access") for part in ("--set", f"{key}={data[key]}")]
    checked = cli("data", "check", "eicu", *sets, "--set", "tables=[lab,physicalExam]")
    assert checked.code == 0, checked.err
    assert "eicu: open" in checked.out
    assert "cases 88, with the outcome 4" in checked.out


def test_the_mimic4_demo_is_fetched_and_loads(
    cli: Cli, serve: Callable[[Mapping[str, bytes]], FileServer], tmp_path: Path
) -> None:
    """Generated records of as many patients as the demo has, in its layout."""
    from eagbench_plugins.datasets.mimic4.published import DEMO
    from eagbench_plugins.datasets.mimic4.synthetic import write_hospital

    hospital = tmp_path / "generated"
    hospital.mkdir()
    write_hospital(hospital, 100, 0)
    files = {file.path: (hospital / file.path).read_bytes() for file in DEMO.files}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()} {path}\n" for path, content in files.items())
    server = serve({**files, "SHA256SUMS.txt": sums.encode()})
    folder = tmp_path / "demo"
    fetched = cli("data", "fetch", "mimic4-demo", "--to", folder, "--from", server.url, "--accept-licence")
    assert fetched.code == 0, fetched.err
    checked = cli("data", "check", "mimic4", "--set", f"root={folder}", "--set", "access=open")
    assert checked.code == 0, checked.err
    assert "mimic4: open" in checked.out


def test_more_patients_than_the_demo_has_are_not_open(cli: Cli, tmp_path: Path) -> None:
    from eagbench_plugins.datasets.mimic4.synthetic import write_hospital

    write_hospital(tmp_path, 101, 0)
    refused = cli("data", "check", "mimic4", "--set", f"root={tmp_path}", "--set", "access=open")
    assert refused.code == 2
    assert "101 patients are more than MIMIC-IV's open demo holds" in refused.err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_fetch_goes_on(tjh: FileServer, tmp_path: Path, signum: signal.Signals) -> None:
    folder = tmp_path / "tjh"
    tjh.answer = lambda asked, count: Fault(seconds=0.02 if not count else 0.0)
    command = [sys.executable, "-m", "eagbench", "data", "fetch", "tjh", "--to", str(folder), "--from", tjh.url]
    first = subprocess.Popen(
        [*command, "--accept-licence"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    partial, deadline = folder / f".{TJH}.partial", time.monotonic() + 120
    while not (partial.is_file() and partial.stat().st_size > 50_000):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signum)
    _, err = first.communicate(timeout=60)
    if signum == signal.SIGINT:
        assert first.returncode == 130
        assert "the same command goes on where the transfer stopped" in err
        assert "Traceback" not in err
    assert not (folder / TJH).exists()
    here = partial.stat().st_size
    second = subprocess.run(command, capture_output=True, text=True, timeout=120)  # the licence was accepted
    assert second.returncode == 0, second.stderr
    assert "goes on after" in second.stderr
    assert tjh.asked[-1].range == f"bytes={here}-"
    assert (folder / TJH).read_bytes() == tjh.files[TJH]


def test_an_origin_that_is_not_there_says_what_to_do(cli: Cli, tjh: FileServer, tmp_path: Path) -> None:
    tjh.files.clear()
    refused = cli("data", "fetch", "tjh", "--to", tmp_path / "tjh", "--from", tjh.url, "--accept-licence")
    assert refused.code == 2
    for words in ("no such file (HTTP 404)", f"download {TJH} from https://github.com", "--from", "HTTPS_PROXY"):
        assert words in refused.err


def test_a_place_that_is_a_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = cli("data", "fetch", "tjh", "--to", tmp_path / "file", "--accept-licence")
    assert (refused.code, "not a folder" in refused.err) == (2, True)
