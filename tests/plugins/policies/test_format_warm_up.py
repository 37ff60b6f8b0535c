"""The format warm-up: a local model learns the answers' form, nothing about outcomes, and the same bytes again."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from eagbench.api import (
    ANSWER_LEVELS,
    STYLES,
    AnswerMode,
    RecordText,
    StageRun,
    UserError,
    answer_cases,
    prompt_text,
)
from eagbench_plugins.policies import model_origin
from eagbench_plugins.policies.format_examples import FormatExamples
from eagbench_plugins.policies.hf import HuggingFacePolicy
from eagbench_plugins.policies.smollm2.policy import SmolLM2Policy
from eagbench_plugins.policies.tiny.policy import TinyPolicy
from tests.conftest import Finished

from .conftest import TINY, make_cases

TEMPLATE = (
    "{% for m in messages %}Asked: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}Told: {% endif %}"
)
LEARN = {"steps": 200, "batch_size": 15, "learning_rate": 3e-3, "short_records": 0.75, "micro_batch": 15}
SHORT = {"steps": 12, "batch_size": 4, "learning_rate": 3e-3, "checkpoint_every": 5}
BENCHMARK = """
name: warm
data: {name: physionet2012, root: ROOT, window_hours: 24}
policy:
  name: hf
  path: MODEL
  dtype: float32
  device: cpu
  format_warm_up: {steps: 80, batch_size: 15, learning_rate: 0.003, short_records: 0.9, micro_batch: 15}
record_text: {values: quantile, periods: 1, instructions: short}
answer: expectation
split: {train: 0.6, tuning: 0.1, held_out: 0.3, seed: 0}
methods: [{name: prompt, style: vanilla, max_new_tokens: 24}]
metrics: [auroc]
conditions: [clean]
seeds: [0]
"""


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory, record_text: RecordText) -> Path:
    """A small Llama with random weights, dropout and a chat template."""
    folder = tmp_path_factory.mktemp("untrained")
    barely = TINY.model_copy(update={"steps": 1, "batch_size": 3, "learning_rate": 1e-12})
    TinyPolicy(barely).prepare(make_cases(200, seed=1), record_text, StageRun({}, {}, 0, folder))
    (folder / "checkpoints").rmdir()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.05}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    model_origin.write(folder, "a test", "its weights were rounded to 4 bits (Q4_1)")
    return folder


def _policy(path: Path, warm_up: dict[str, Any] | None, dtype: str = "float32") -> HuggingFacePolicy:
    params = {"path": str(path), "device": "cpu", "dtype": dtype, "format_warm_up": warm_up}
    return HuggingFacePolicy(HuggingFacePolicy.Params.model_validate(params))


def _prepare(policy: HuggingFacePolicy, folder: Path, record_text: RecordText, **stage: Any) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    policy.prepare(make_cases(50, seed=1), record_text, StageRun({}, {}, 0, folder, **stage))
    files = [path for path in folder.iterdir() if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def learnt(untrained: Path, record_text: RecordText, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learnt")
    policy = _policy(untrained, LEARN)
    policy.prepare(make_cases(200, seed=1), record_text, StageRun({}, {}, 0, folder))
    return folder


@pytest.mark.parametrize("style", STYLES)
def test_a_model_that_could_not_write_the_format_can_afterwards(
    untrained: Path, learnt: Path, record_text: RecordText, tmp_path: Path, style: str
) -> None:
    def unparsed(folder: Path) -> float:
        model = _policy(untrained, LEARN).open(folder)
        predictions = answer_cases(
            model, make_cases(40, seed=2), record_text, STYLES[style], AnswerMode(), seed=0, max_new_tokens=150
        )
        return float(np.mean([prediction.probability is None for prediction in predictions]))

    assert unparsed(tmp_path) == 1.0  # an empty policy folder: the model as it was
    assert unparsed(learnt) < 0.1


def test_every_level_is_as_likely_in_what_is_learnt(record_text: RecordText) -> None:
    examples, rng = FormatExamples(make_cases(50, seed=1), record_text), np.random.default_rng(0)
    drawn = [examples.draw(STYLES["vanilla"], rng).answer for _ in range(4000)]
    counts = np.array([sum(f">{level}<" in answer for answer in drawn) for level in ANSWER_LEVELS])
    expected = len(drawn) / len(ANSWER_LEVELS)
    assert counts.sum() == len(drawn)
    # Chi-squared of so many degrees of freedom has this mean and variance: four standard deviations.
    freedom = len(ANSWER_LEVELS) - 1
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 4 * np.sqrt(2 * freedom)


def test_what_was_learnt_favours_no_outcome(untrained: Path, learnt: Path, record_text: RecordText) -> None:
    model = _policy(untrained, LEARN).open(learnt)
    cases, answer = make_cases(60, seed=3), AnswerMode(mode="expectation")
    predictions = answer_cases(model, cases, record_text, STYLES["vanilla"], answer, seed=0, max_new_tokens=20)
    said = np.array([prediction.probability for prediction in predictions], dtype=float)
    assert np.abs(said - 0.5).max() < 0.15


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}], ids=["all", "lora"])
def test_a_killed_warm_up_goes_on_to_the_same_bytes(
    untrained: Path, record_text: RecordText, tmp_path: Path, lora: dict[str, Any] | None
) -> None:
    policy, taken = _policy(untrained, {**SHORT, "lora": lora}), []

    def killed_after_7_steps(items: Any, label: str, total: int) -> Iterator[Any]:
        for i, item in enumerate(items):
            if i == 7:
                raise KeyboardInterrupt
            yield item

    def counting(items: Any, label: str, total: int) -> Iterator[Any]:
        for item in items:
            taken.append(item)
            yield item

    unbroken = _prepare(policy, tmp_path / "a", record_text)
    assert {"config.json", "model.safetensors", "tokenizer.json", "training.jsonl"} <= set(unbroken)
    with pytest.raises(KeyboardInterrupt):
        _prepare(policy, tmp_path / "b", record_text, progress=killed_after_7_steps)
    assert _prepare(policy, tmp_path / "b", record_text, progress=counting) == unbroken
    assert taken == list(range(5, SHORT["steps"]))
    log = [json.loads(line) for line in (tmp_path / "b" / "training.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(1, SHORT["steps"] + 1))
    assert log[-1]["loss"] < log[0]["loss"]


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}], ids=["all", "lora"])
@pytest.mark.parametrize("other", [{"micro_batch": 1}, {"activation_checkpointing": True}], ids=["micro", "recomputed"])
def test_what_saves_memory_changes_rounding_only(
    untrained: Path, record_text: RecordText, tmp_path: Path, other: dict[str, Any], lora: dict[str, Any] | None
) -> None:
    config = json.loads((untrained / "config.json").read_text())
    (tmp_path / "model").mkdir()
    for file in untrained.iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    # Dropout draws another mask for another shape.
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.0}))
    weights = []
    for name, changed in (("a", {}), ("b", other)):
        _prepare(
            _policy(tmp_path / "model", {**SHORT, "steps": 3, "lora": lora, **changed}), tmp_path / name, record_text
        )
        weights.append(load_file(tmp_path / name / "model.safetensors"))
    for name, one in weights[0].items():
        torch.testing.assert_close(weights[1][name], one, rtol=1e-3, atol=1e-4)


def test_a_bfloat16_policy_is_written_in_its_precision_and_keeps_small_updates(
    untrained: Path, record_text: RecordText, tmp_path: Path
) -> None:
    slow = {**SHORT, "steps": 30, "learning_rate": 2e-4}
    losses = []
    for dtype in ("float32", "bfloat16"):
        _prepare(_policy(untrained, slow, dtype), tmp_path / dtype, record_text)
        log = [json.loads(line) for line in (tmp_path / dtype / "training.jsonl").read_text().splitlines()]
        losses.append(np.array([entry["loss"] for entry in log]))
    written = load_file(tmp_path / "bfloat16" / "model.safetensors")
    assert {weight.dtype for weight in written.values()} == {torch.bfloat16}
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[0][-1] < 0.97 * losses[0][0]


def test_the_note_about_the_weights_stays_and_the_tokens_are_counted(untrained: Path, learnt: Path) -> None:
    policy = _policy(untrained, LEARN)
    assert policy.traits.weights_note == "its weights were rounded to 4 bits (Q4_1)"
    assert policy.counter(learnt).prompt_tokens(["record"]) == policy.open(learnt).prompt_tokens(["record"])
    assert policy.open(learnt).as_input("record") == "Asked: record\nTold: "


def test_smollm2_hands_its_warm_up_to_the_same_stage(
    untrained: Path, record_text: RecordText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "smollm2").symlink_to(untrained)
    monkeypatch.setenv("EAGBENCH_POLICIES", str(tmp_path / "models"))
    params = {"device": "cpu", "dtype": "float32", "format_warm_up": SHORT}
    (tmp_path / "a").mkdir()
    smollm2 = SmolLM2Policy(SmolLM2Policy.Params.model_validate(params))
    smollm2.prepare(make_cases(50, seed=1), record_text, StageRun({}, {}, 0, tmp_path / "a"))
    written = hashlib.sha256((tmp_path / "a" / "model.safetensors").read_bytes()).hexdigest()
    assert _prepare(_policy(untrained, SHORT), tmp_path / "b", record_text)["model.safetensors"] == written


def _changed(untrained: Path, folder: Path, file: str, **values: Any) -> Path:
    folder.mkdir()
    for path in untrained.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / file).write_text(json.dumps({**json.loads((folder / file).read_text()), **values}))
    return folder


def test_texts_that_the_model_has_no_room_for_are_refused_before_the_first_step(
    untrained: Path, record_text: RecordText, tmp_path: Path
) -> None:
    whole = _policy(untrained, None).counter(tmp_path)
    cases = make_cases(50, seed=1)
    prompts = [prompt_text(style, case, cases, record_text) for style in STYLES.values() for case in cases]
    longest = max(whole.prompt_tokens(prompts))
    place = _changed(untrained, tmp_path / "short", "config.json", max_position_embeddings=longest + 5)
    started: list[str] = []
    with pytest.raises(UserError, match=f"this model reads {longest + 5}"):
        _prepare(
            _policy(place, {**SHORT, "short_records": 0}),
            tmp_path / "out",
            record_text,
            progress=lambda *told: started.append(told[1]),
        )
    assert started == []


@pytest.mark.slow
def test_the_prompt_method_has_a_row_for_it_and_other_parameters_are_another_policy(
    cli: Callable[..., Finished], physionet_root: Path, store_folder: Path, untrained: Path, tmp_path: Path
) -> None:
    benchmark, out = tmp_path / "warm.yaml", tmp_path / "out"
    benchmark.write_text(BENCHMARK.replace("ROOT", str(physionet_root)).replace("MODEL", str(untrained)))
    done = cli("run", benchmark, "--limit", 150, "--out", out, "--quiet")
    assert done.code == 0, done.err
    with (out / "results.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["metric"] == "auroc" and row["seed"] == "0"]
    assert [row["method"] for row in rows] == ["prompt"]
    assert rows[0]["status"] == "ok", rows
    assert 0 <= float(rows[0]["value"]) <= 1
    assert "rounded to 4 bits" in json.loads((out / "manifest.json").read_text())["weights_note"]
    same = cli("plan", benchmark, "--limit", 150).out
    other = cli("plan", benchmark, "--limit", 150, "--set", "policy.format_warm_up.steps=7").out
    assert " to do" not in same.replace("to do: about 0 s", "")
    assert " to do" in other.replace("to do: about 0 s", "")
