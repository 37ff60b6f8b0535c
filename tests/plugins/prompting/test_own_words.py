"""A benchmark with a prompt file and `prompt_wording`, asked of a local server: what is sent, kept and verified."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Finished
from tests.local_server import LocalServer, Reply, message

BENCHMARK = """
name: words
data: {{name: mimic4, root: synthetic, synthetic_patients: 60, window_hours: 48}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2, seed: 0}}
policy: {{name: openai, base_url: "{url}", model: m}}
record_text: {{values: compact}}
prompts: {{german: vanilla_german.yaml}}
methods:
  - logistic_regression
  - {{name: prompt, style: vanilla, max_new_tokens: 20}}
  - {{name: prompt, as: german, style: german, max_new_tokens: 20}}
conditions:
  - clean
  - {{name: prompt_wording, severity: 1.0, wordings: {{german: [other.yaml]}}}}
metrics: [auroc, unparsed_rate]
intervals: {{resamples: 100}}
"""


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """A server that answers each prompt with another probability."""
    made = LocalServer(lambda _, count: Reply(message(content=f"<answer>0.{count % 9 + 1}</answer>")))
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path, server: LocalServer) -> Path:
    """The benchmark with its prompt files."""
    german = ROOT / "configs" / "prompts" / "vanilla_german.yaml"
    shutil.copy(german, tmp_path)
    other = german.read_text().replace("Die Akte eines Menschen", "Aus einer Akte")
    (tmp_path / "other.yaml").write_text(other)
    (tmp_path / "words.yaml").write_text(BENCHMARK.format(url=server.url))
    return tmp_path


def sent(server: LocalServer) -> list[str]:
    return [request.body["messages"][-1]["content"] for request in server.requests]


def edit(file: Path) -> None:
    file.write_text(file.read_text().replace("Frage", "Zu sagen"))


def stages(cli: Callable[..., Finished], folder: Path, kind: str) -> dict[str, bool]:
    """Whether the store holds each stage of a kind, by its label."""
    lines = [line.split(maxsplit=2) for line in cli("plan", folder / "words.yaml").out.splitlines()]
    found = [words[2] for words in lines if len(words) == 3 and words[1] == kind]
    return {line.rpartition("  ")[0].strip(): line.endswith("in the store") for line in found}


def test_each_is_asked_in_its_own_words_and_an_edited_file_is_asked_again(
    cli: Callable[..., Finished], folder: Path, server: LocalServer, store_folder: Path
) -> None:
    del store_folder
    first = cli("run", folder / "words.yaml", "--out", folder / "run", "--quiet")
    assert first.code == 0, first.err
    asked = sent(server)
    n = len([text for text in asked if text.startswith("You are an intensive care physician.\n\nThe record")])
    assert n > 5
    german = [text for text in asked if text.startswith("Sie sind Ärztin")]
    assert len(german) == 2 * n
    assert sum("Aus einer Akte:\n" in text and "im Krankenhaus stirbt?" in text for text in german) == n
    assert len(asked) == 4 * n
    assert len(set(asked)) == 4 * n
    with (folder / "run" / "results.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["condition"] == "prompt_wording"]
    status = {row["method"]: row["status"] for row in rows if row["metric"] == "auroc"}
    assert status == {"logistic_regression": "not_applicable", "prompt": "ok", "german": "ok"}
    verified = cli("verify", folder / "run")
    assert verified.code == 0, verified.out + verified.err
    assert f"{4 * n} texts read again" in verified.out

    assert cli("run", folder / "words.yaml", "--out", folder / "again", "--quiet").code == 0
    assert len(server.requests) == 4 * n
    edit(folder / "vanilla_german.yaml")
    held = stages(cli, folder, "predict")
    assert {label.partition(",")[0]: is_held for label, is_held in held.items()} == {
        "logistic_regression": True,
        "prompt": True,
        "german": False,
    }
    edit(folder / "other.yaml")
    held = stages(cli, folder, "predict")
    assert held["prompt, clean, seed 0"]
    assert not held["prompt, prompt_wording 1, seed 0"]  # other words are parameters of the condition


def test_a_prompt_without_other_words_is_refused_before_anything_runs(
    cli: Callable[..., Finished], folder: Path, server: LocalServer
) -> None:
    path = folder / "words.yaml"
    path.write_text(path.read_text().replace(", wordings: {german: [other.yaml]}", ""))
    refused = cli("run", path, "--out", folder / "run")
    assert refused.code == 2
    assert "has no other words for the prompt 'german' of the method 'german'" in refused.err
    assert "words.yaml:1" in refused.err
    assert not server.requests


def test_the_prompt_is_printed_in_its_words_or_in_others(
    cli: Callable[..., Finished], folder: Path, store_folder: Path
) -> None:
    del store_folder
    unknown = cli("prompt", folder / "words.yaml", "nobody")
    case = unknown.err.rpartition("for example '")[2].partition("'")[0]
    own = cli("prompt", folder / "words.yaml", case, "--method", "german")
    assert own.out.startswith("Sie sind Ärztin"), own.err
    named = cli("prompt", folder / "words.yaml", case, "--method", "prompt=german")
    file = cli("prompt", folder / "words.yaml", case, "--method", f"prompt={folder / 'vanilla_german.yaml'}")
    assert named.out == file.out == own.out
    thought = cli("prompt", folder / "words.yaml", case, "--method", "german=think_answer")
    assert "<think> your reasoning </think>" in thought.out
    wrong = cli("prompt", folder / "words.yaml", case, "--method", "prompt=germann")
    assert wrong.code == 2
    assert "did you mean 'german'" in wrong.err or "no prompt called 'germann'" in wrong.err
