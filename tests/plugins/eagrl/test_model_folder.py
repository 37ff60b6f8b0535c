"""All of EAG-RL from a model folder, as a downloaded model is used: policy `hf`, bfloat16, LoRA, a chat template."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.torch import load_file

from eagbench.api import RecordText, RecordTextParams, StageRun
from eagbench.registry.plugins import load_registry
from eagbench_plugins.policies.tiny.policy import TinyPolicy
from tests.conftest import Finished

RECORD_TEXT = {"values": "quantile", "periods": 1, "instructions": "short"}
TINY = TinyPolicy.Params(steps=120, hidden_dim=48, intermediate_dim=96, layers=2)
TEMPLATE = "{% for m in messages %}<user> {{ m['content'] }}{% endfor %}"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory, physionet_root: Path) -> Path:
    """A model that knows the formats, with a chat template in its tokenizer, and no trace of eagbench in its folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made, folder = tmp_path_factory.mktemp("tiny"), tmp_path_factory.mktemp("model")
    spec = {"root": str(physionet_root), "task": "in_hospital_mortality"}
    cases = load_registry().create("dataset", "physionet2012", spec).load(StageRun({}, {}, 0, made)).cases
    record_text = RecordText(RecordTextParams.model_validate(RECORD_TEXT)).fit(cases)
    TinyPolicy(TINY).prepare(cases, record_text, StageRun({}, {}, 0, made))
    tokenizer = AutoTokenizer.from_pretrained(made)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    AutoModelForCausalLM.from_pretrained(made, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def test_search_both_trainings_with_lora_and_prediction_from_a_model_folder(
    cli: Callable[..., Finished],
    model_folder: Path,
    physionet_root: Path,
    store_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = {
        "name": "eag_rl",
        "expert": "logistic_regression",
        "search": {"name": "expert_mcts", "parallel": 4},
        "token_budget": 200,
        "max_new_tokens": 100,
        "max_training_cases": 24,
        "sft": {
            "steps": 60,  # with 30 rounding decided whether 85 or 90 % could not be read
            "batch_size": 8,
            "accumulate": 2,
            "learning_rate": 5e-3,
            "answer_weight": 1,
            "activation_checkpointing": True,
            "lora": {"rank": 4},
        },
        "policy_optimisation": {
            "steps": 1,
            "cases": 6,  # so that the rewards of one group at least differ, whatever the processor's rounding
            "group_size": 8,
            "passes": 2,
            "mini_batches": 1,
            "accumulate": 2,
            "learning_rate": 5e-4,
            "activation_checkpointing": True,
            "lora": {"rank": 4},
        },
    }
    tree = {
        "name": "model_folder",
        "data": {"name": "physionet2012", "root": str(physionet_root), "task": "in_hospital_mortality"},
        "split": {"train": 0.7, "tuning": 0.15, "held_out": 0.15, "seed": 0},
        "policy": {"name": "hf", "path": "${EAGBENCH_MODEL}", "dtype": "bfloat16", "device": "cpu", "batch_size": 32},
        "record_text": RECORD_TEXT,
        "answer": {"mode": "mean_of_n", "samples": 2},
        "methods": [method],
        "metrics": ["auroc", "unparsed_rate"],
    }
    (tmp_path / "benchmark.yaml").write_text(yaml.safe_dump(tree))
    monkeypatch.setenv("EAGBENCH_MODEL", str(model_folder))
    seen = _prompts_read(monkeypatch)
    done = cli("run", tmp_path / "benchmark.yaml", "--out", tmp_path / "run")
    assert done.code == 0, done.err

    results = pd.read_csv(tmp_path / "run" / "results.csv")
    assert set(results[results.metric == "auroc"].status) == {"ok"}
    assert results[results.metric == "unparsed_rate"].value.max() < 0.9
    assert seen
    assert all(text.startswith("<user> ") for text in seen)

    (searched,) = store_folder.glob("trajectories/*/trajectories.jsonl")
    assert any(line["trajectories"] for line in map(json.loads, searched.read_text().splitlines()))
    # Each stage changed the weights of the one before, wrote whole weights in the policy's dtype, and no adapter.
    stages = [
        model_folder,
        *(next(store_folder.glob(f"{kind}/*/config.json")).parent for kind in ("sft", "policy_optimisation")),
    ]
    assert json.loads((stages[-1] / "summary.json").read_text())["groups_without_spread"] < 1, "nothing to learn from"
    weights = [load_file(folder / "model.safetensors") for folder in stages]
    name = "model.layers.0.self_attn.q_proj.weight"
    for before, after, folder in zip(weights, weights[1:], stages[1:], strict=False):
        assert before.keys() == after.keys()
        assert after[name].dtype == before[name].dtype
        assert not after[name].equal(before[name])
        assert not list(folder.glob("adapter*"))
        assert json.loads((folder / "policy.json").read_text())["name"] == "hf"
    (predicted,) = store_folder.glob("predict/*/predictions.parquet")
    assert set(pq.read_table(predicted)["answer_mode"].to_pylist()) == {"mean_of_n"}


def _prompts_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the opened model reads while it writes, kept as they come."""
    from eagbench_plugins.policies.transformers_model import TransformersModel

    seen: list[str] = []
    real = TransformersModel._encode

    def watching(self: Any, texts: Any) -> Any:
        seen.extend(texts)
        return real(self, texts)

    monkeypatch.setattr(TransformersModel, "_encode", watching)
    return seen
