"""Configurations of large policies and what is said of them: shapes, memory, and the benchmark of one training step."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Finished

SPEED = ROOT / "speed"
FRAGMENTS = sorted(path.stem for path in (ROOT / "configs" / "policies").glob("*.yaml") if "hf" in path.read_text())


def script(name: str, *arguments: str) -> str:
    """What a script of speed/ prints."""
    command = [sys.executable, str(SPEED / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def table() -> str:
    return script("policy_memory")


@pytest.fixture(scope="module")
def cells(table: str) -> dict[str, list[str]]:
    """The table's cells by shape, numbers without their thousands separators."""
    rows = [[cell.strip().replace(",", "") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize(
    ("shape", "parameters"),
    # Of the published checkpoints, as the hub counts the entries of their safetensors files.
    [("qwen2.5-3b", 3_085_938_688), ("qwen2.5-7b", 7_615_616_512), ("llama3.1-8b", 8_030_261_248)],
)
def test_shapes_have_the_published_number_of_parameters(
    cells: dict[str, list[str]], shape: str, parameters: int
) -> None:
    assert int(cells[shape][0]) == parameters


def test_memory_of_adapters_and_cache_by_hand(cells: dict[str, list[str]]) -> None:
    hidden, inner, kv = 3584, 18944, 512
    linear = [(hidden, hidden), (hidden, kv), (hidden, kv), (hidden, hidden), (hidden, inner), (hidden, inner)]
    adapters = 28 * sum(16 * (a + b) for a, b in [*linear, (inner, hidden)])
    _, counted, weights, lora, cache, kept, *_ = cells["qwen2.5-7b"]
    assert int(counted) == adapters
    assert float(weights) == pytest.approx(2 * 7_615_616_512 / 2**30, abs=0.05)
    assert float(lora) == pytest.approx(16 * adapters / 2**30, abs=5e-4)
    assert float(cache) == pytest.approx(1000 * 2 * 28 * kv * 2 / 2**30, abs=5e-4)
    assert float(kept) == pytest.approx(1000 * 28 * hidden * 2 / 2**30, abs=5e-4)


def test_the_documented_table_is_what_the_script_prints(table: str) -> None:
    page = (ROOT / "docs" / "large_policies.md").read_text()
    assert table.strip() in page


def test_the_figures_in_the_fragments_are_the_tables(cells: dict[str, list[str]]) -> None:
    shapes = {"qwen2.5_7b_instruct": "qwen2.5-7b", "qwen2.5_3b_instruct": "qwen2.5-3b"}
    for fragment, shape in {**shapes, "llama3.1_8b_instruct": "llama3.1-8b"}.items():
        text = (ROOT / "configs" / "policies" / f"{fragment}.yaml").read_text()
        _, _, weights, lora, _, kept, _, writing, first, second = cells[shape]
        assert f"weights in bf16 {weights} GiB; LoRA (rank 16) with its state {float(lora):.1f};" in text
        [training] = re.findall(r"keeps ([0-9.]+) in training", text)
        assert float(training) == pytest.approx(float(kept) * 3.072, abs=0.06)
        [cache] = re.findall(r"written at once need a cache of ([0-9.]+)\.", text.replace("\n# ", " "))
        assert float(cache) == pytest.approx(float(writing) - float(weights), abs=0.11)
        assert f"Full fine-tuning: {float(first):.0f} to {float(second):.0f} GiB" in text


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_every_large_policy_plans_from_a_saved_model(
    fragment: str, cli: Callable[..., Finished], small_model: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAGBENCH_MODEL", str(small_model))
    monkeypatch.setenv("EAGBENCH_POLICY", fragment)
    monkeypatch.delenv("EAGBENCH_MIMIC4_ROOT", raising=False)
    done = cli("plan", ROOT / "benchmarks" / "eagrl_large.yaml", "--profile", "quick")
    assert done.code == 0, done.err
    assert "policy_optimisation" in done.out


def test_without_the_model_the_plan_says_what_to_do(
    cli: Callable[..., Finished], store_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EAGBENCH_MODEL", str(tmp_path / "missing"))
    done = cli("plan", ROOT / "benchmarks" / "eagrl_large.yaml")
    assert done.code == 2
    assert "no such folder" in done.err


def test_a_large_policy_is_trained_with_lora_and_the_papers_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from eagbench.config.loading import load_benchmark
    from eagbench_plugins.eagrl.eag_rl import EAGRL

    monkeypatch.delenv("EAGBENCH_POLICY", raising=False)
    for profile in (None, "quick"):
        methods = load_benchmark(ROOT / "benchmarks" / "eagrl_large.yaml", profile=profile).benchmark.methods
        [spec] = [method for method in methods if method.label == "eag_rl_paper"]
        params = EAGRL.Params.model_validate(spec.params)
        assert params.policy_optimisation is not None
        for stage in (params.sft, params.policy_optimisation):
            assert stage.lora is not None
            assert stage.activation_checkpointing
            assert stage.answer_weight == 1
            assert stage.learning_rate <= 1e-4
        assert params.policy_optimisation.group_size == 8


@pytest.fixture(scope="module")
def step() -> dict:
    small = ("--shape", "small", "--features", "6", "--periods", "1", "--words", "20", "--new-tokens", "16")
    return json.loads(script("large_policy_step", *small))


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of random weights that the benchmark of one step builds."""
    sys.path.insert(0, str(SPEED))
    try:
        from large_policy_step import save_random_policy

        folder = tmp_path_factory.mktemp("small")
        save_random_policy("small", ["heart rate 80, 90", "lactate 2.1"] * 20, folder, "cpu", "float32")
    finally:
        sys.path.remove(str(SPEED))
    return folder


def test_one_step_of_both_stages_runs_through_the_same_code_on_a_cpu(step: dict) -> None:
    assert step["shape"] == "small"
    assert step["dtype"] == "bfloat16"
    for stage in (step["sft"], step["policy_optimisation"]):
        assert all(rate > 0 for rate in stage["trained_tokens_per_second"])
        assert 0 < stage["lost_in_merging"] < 1.5
        assert stage["peak_resident_bytes"] > 2 * step["parameters"]
    assert len(step["sft"]["seconds_per_step"]) == 1
    assert step["policy_optimisation"]["tokens_per_answer"] <= 16
    assert all(norm > 0 for norm in step["policy_optimisation"]["gradient_norm"])


def test_every_token_that_the_small_model_can_write_has_a_text(small_model: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small_model)
    size = AutoConfig.from_pretrained(small_model).vocab_size
    assert all(tokenizer.decode([token]) or token in tokenizer.all_special_ids for token in range(size))
    assert tokenizer.chat_template
