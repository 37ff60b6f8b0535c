"""`eagbench prompt` prints what the policy reads, and `plan` says how long that is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from eagbench.execution.store import Store
from eagbench_plugins.policies.model_input import ModelInput
from eagbench_plugins.policies.transformers_model import TransformersModel
from tests.conftest import Finished
from tests.tiny_gguf import write_tiny_gguf

BENCHMARK = """
name: small
data: {{name: physionet2012, root: "{root}", window_hours: 24}}
policy: {{name: hf, path: "{model}"}}
record_text: {{values: compact, periods: 1, instructions: short}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2, seed: 0}}
methods:
  - logistic_regression
  - text_tfidf
  - {{name: prompt, as: asked, style: vanilla, max_new_tokens: 2}}
  - {{name: few_shot, as: shots, shots: 2, max_new_tokens: 2}}
  - {{name: hybrid_prompt, as: told, expert: logistic_regression, max_new_tokens: 2}}
metrics: [auroc]
conditions: [clean]
seeds: [0]
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture
def benchmark_file(tmp_path: Path, physionet_root: Path, store_folder: Path, model: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(BENCHMARK.format(root=physionet_root, model=model))
    return path


def test_the_prompt_is_what_the_model_reads_in_the_run(
    cli: Callable[..., Finished], benchmark_file: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    encode = TransformersModel._encode

    def heard(self: TransformersModel, texts: Sequence[str]) -> list[list[int]]:
        read.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(TransformersModel, "_encode", heard)
    before = cli("prompt", benchmark_file, "132539", "--method", "asked")
    assert before.code == 0, before.err
    assert not read  # no model was opened, and no policy prepared
    assert not list((Store.open().root / "policy").glob("*"))
    done = cli("run", benchmark_file, "--out", tmp_path / "out", "--quiet")
    assert done.code in (0, 1), done.err  # what a random model writes can't be read
    held_out = pq.read_table(tmp_path / "out" / "predictions" / "asked.parquet")["case_id"][0].as_py()
    in_the_run, counter = set(read), ModelInput.load(model)
    for method in ("asked", "shots", "told"):
        shown = cli("prompt", benchmark_file, held_out, "--method", method)
        assert f"method {method}, case {held_out} (held_out)" in shown.err
        text = shown.out.removesuffix("\n")
        assert text in in_the_run
        told = re.search(r": ([\d,]+) tokens", shown.err)
        assert told
        assert int(told[1].replace(",", "")) == len(counter.tokenized([text])["input_ids"][0])


def test_plan_says_median_and_longest_once_the_cohort_is_there(
    cli: Callable[..., Finished], benchmark_file: Path
) -> None:
    before = cli("plan", benchmark_file)
    assert "prompts of asked: their length is known once the cohort is in the store" in before.out
    assert "prompts of logistic_regression" not in before.out
    assert "prompts of text_tfidf" not in before.out
    cli("prompt", benchmark_file, "132539", "--method", "asked")
    after = cli("plan", benchmark_file)
    found = re.search(r"prompts of asked: ([\d,]+) tokens \(median\), ([\d,]+) \(longest\), on 60 of 2", after.out)
    assert found, after.out
    assert 50 < int(found[1]) <= int(found[2])
    assert after.out.rstrip().endswith("is in the store")  # the prompt of `told` is made from an expert
    assert "the policy reads 4,096" in after.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("132539", "--method", "aksed"), ("no method 'aksed'", "did you mean 'asked'")),
        (("132539", "--method", "logistic_regression"), ("reads columns", "choices: asked, shots, told")),
        (("132539", "--method", "text_tfidf"), ("asks no policy", "choices: asked, shots, told")),
        (("1325399", "--method", "asked"), ("no case '1325399'", "did you mean '1325")),
    ],
)
def test_what_is_not_there_is_named(
    arguments: tuple[str, ...], told: tuple[str, ...], cli: Callable[..., Finished], benchmark_file: Path
) -> None:
    done = cli("prompt", benchmark_file, *arguments)
    assert done.code == 2
    for words in told:
        assert words in done.err


def test_credentialed_records_are_named_as_such(
    cli: Callable[..., Finished], benchmark_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eagbench_plugins.datasets.physionet2012 import PhysioNet2012

    def access(self: Any) -> str:
        return "credentialed"

    monkeypatch.setattr(PhysioNet2012, "access", access)
    done = cli("prompt", benchmark_file, "132539")
    assert done.code == 0, done.err
    assert "this is the record of a patient" in done.err
