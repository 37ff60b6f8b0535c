"""The tiny policy: well-formed in every style, ignorant of the outcome, the same bytes for the same seed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoTokenizer

from eagbench.api import (
    ANSWER_LEVELS,
    STYLES,
    AnswerMode,
    RecordText,
    RecordTextParams,
    StageRun,
    TrainingNames,
    UserError,
    answer_cases,
    prompt_text,
    vocabulary,
)
from eagbench_plugins.policies.tiny.policy import TinyPolicy
from eagbench_plugins.policies.transformers_model import TransformersModel

from .conftest import FEATURES, TINY, make_cases

SHORT = TINY.model_copy(update={"steps": 60, "batch_size": 3})


def _hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.iterdir() if path.is_file() and path.name != "policy.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _prepare(folder: Path, record_text: RecordText, seed: int = 0, **stage: object) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    TinyPolicy(SHORT).prepare(make_cases(50, seed=1), record_text, StageRun({}, {}, seed, folder, **stage))
    return _hashes(folder)


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
@pytest.mark.parametrize("mode", ["greedy", "mean_of_n", "expectation"])
def test_answers_are_well_formed_in_every_style_and_mode(prepared, style, mode) -> None:
    model = TinyPolicy(TINY).open(prepared.folder)
    answer = AnswerMode(mode=mode, samples=2)
    predictions = answer_cases(
        model, prepared.held_out, prepared.record_text, style, answer, seed=0, max_new_tokens=150
    )
    assert np.mean([prediction.probability is None for prediction in predictions]) < 0.1
    trajectories = [trajectory for prediction in predictions for trajectory in prediction.trajectories]
    # A text at temperature 1 leaves its format more often than a greedy one.
    assert np.mean([t.probability is None for t in trajectories]) < (0.3 if mode == "mean_of_n" else 0.1)
    assert sum(trajectory.hallucinated_features for trajectory in trajectories) <= 0.1 * len(trajectories)
    if style.cites_features and mode != "mean_of_n":
        assert np.mean([bool(t.cited_features) and bool(t.steps) for t in trajectories]) > 0.9
    if not style.cites_features:
        assert np.mean(["<Subquestion>" in t.text for t in trajectories]) < 0.1


def test_every_level_tag_and_value_is_one_token_and_text_survives(prepared) -> None:
    tokenizer = AutoTokenizer.from_pretrained(prepared.folder)
    tags = [tag for style in STYLES.values() for tag in style.tags]
    units = {unit for case in prepared.training for text in _texts(prepared, case) for unit in text.split()}
    assert len(units) > 100
    for text in (*ANSWER_LEVELS, *tags, *(f" {unit}" for unit in units), *(f" {n}" for n in _names(prepared))):
        assert len(tokenizer(text)["input_ids"]) == 1, text
    for text in ("odd  spaces\n\n and, (signs) <b> 0.351", "µmol/l °C", prompt_text(
        STYLES["vanilla"], prepared.held_out.items[0], prepared.held_out, prepared.record_text
    )):  # fmt: skip
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def _texts(prepared, case):
    return prepared.record_text.feature_texts(case, prepared.training).values()


def _names(prepared):
    return prepared.training.feature_names


def test_same_seed_same_bytes_another_seed_another_model(tmp_path: Path, record_text) -> None:
    first = _prepare(tmp_path / "a", record_text)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(first)
    assert _prepare(tmp_path / "b", record_text) == first
    assert _prepare(tmp_path / "c", record_text, seed=1)["model.safetensors"] != first["model.safetensors"]


def test_a_killed_pretraining_goes_on_to_the_same_bytes(tmp_path: Path, record_text) -> None:
    unbroken = _prepare(tmp_path / "a", record_text)
    steps_taken = []

    def killed_after_55_steps(items, label, total):
        for i, item in enumerate(items):
            if i == 55:
                raise KeyboardInterrupt
            yield item

    def counting(items, label, total):
        for item in items:
            steps_taken.append(item)
            yield item

    with pytest.raises(KeyboardInterrupt):
        _prepare(tmp_path / "b", record_text, progress=killed_after_55_steps)
    assert _prepare(tmp_path / "b", record_text, progress=counting) == unbroken
    assert steps_taken == list(range(50, SHORT.steps))


ON_RECORDS = SHORT.model_copy(update={"record_steps": 60})


def test_pretraining_on_records_teaches_what_they_are_like(tmp_path: Path, record_text, prepared) -> None:
    texts = [
        prompt_text(STYLES["vanilla"], case, prepared.held_out, record_text) for case in prepared.held_out.items[:20]
    ]
    surprise = {}
    for params in (SHORT, ON_RECORDS):
        folder = tmp_path / str(params.record_steps)
        folder.mkdir()
        TinyPolicy(params).prepare(make_cases(50, seed=1), record_text, StageRun({}, {}, 0, folder))
        model = TransformersModel.load(folder, dtype="float32")
        encoded = [model.tokenizer(text, return_tensors="pt")["input_ids"] for text in texts]
        with torch.no_grad():
            losses = [model.model(input_ids=ids, labels=ids).loss.item() for ids in encoded]
        surprise[params.record_steps] = np.mean(losses)
    assert surprise[60] < surprise[0] - 1.0


def test_a_policy_that_learnt_other_names_writes_them_in_fewer_tokens(tmp_path: Path) -> None:
    named = replace(make_cases(50, seed=1), features=vocabulary().features(FEATURES))
    text = RecordText(RecordTextParams(values="quantile", periods=2, instructions="short")).fit(named)
    under = TrainingNames(named.features, 1.0)
    records = [text.render(under.draw(case, np.random.default_rng(i)), named) for i, case in enumerate(named)]
    tokens = {}
    for share in (0.0, 1.0):
        folder = tmp_path / str(share)
        folder.mkdir()
        short = SHORT.model_copy(update={"steps": 2, "other_names": share})
        TinyPolicy(short).prepare(named, text, StageRun({}, {}, 0, folder))
        tokenizer = TransformersModel.load(folder, dtype="float32").tokenizer
        tokens[share] = sum(map(len, tokenizer(records)["input_ids"]))
    assert tokens[1.0] < 0.7 * tokens[0.0]


def test_invented_names_are_met_in_training_and_no_part_of_the_tokenizer(tmp_path: Path) -> None:
    named = replace(make_cases(50, seed=1), features=vocabulary().features(FEATURES))
    text = RecordText(RecordTextParams(values="quantile", periods=2, instructions="short")).fit(named)
    written = {}
    for share in (0.0, 0.5):
        folder = tmp_path / str(share)
        folder.mkdir()
        short = SHORT.model_copy(update={"steps": 2, "other_names": 1.0, "invented_names": share})
        TinyPolicy(short).prepare(named, text, StageRun({}, {}, 0, folder))
        written[share] = _hashes(folder)
    assert written[0.0]["tokenizer.json"] == written[0.5]["tokenizer.json"]
    assert written[0.0]["model.safetensors"] != written[0.5]["model.safetensors"]
    with pytest.raises(ValidationError, match="set other_names, too"):
        TinyPolicy.Params(invented_names=0.5)


def test_a_kill_after_the_records_goes_on_to_the_same_bytes(tmp_path: Path, record_text) -> None:
    taken: dict[str, list[list[int]]] = {}

    def counting(items, label, total):
        taken.setdefault(label, []).append(list(items))
        return iter(items)

    def killed_in_the_formats(items, label, total):
        for i, item in enumerate(items):
            if label == "pre-train" and i == 55:
                raise KeyboardInterrupt
            yield item

    def prepare(folder: Path, progress) -> dict[str, str]:
        folder.mkdir(exist_ok=True)
        TinyPolicy(ON_RECORDS).prepare(
            make_cases(50, seed=1), record_text, StageRun({}, {}, 0, folder, progress=progress)
        )
        return _hashes(folder)

    unbroken = prepare(tmp_path / "a", counting)
    assert taken == {"pre-train on records": [list(range(60))], "pre-train": [list(range(60))]}
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "b", killed_in_the_formats)
    assert prepare(tmp_path / "b", counting) == unbroken
    assert [part[-1] for part in taken.values()] == [list(range(50, 60))] * 2
    assert unbroken["model.safetensors"] != _prepare(tmp_path / "c", record_text)["model.safetensors"]


def test_default_size_is_below_five_million_parameters() -> None:
    largest = TinyPolicy.Params(hidden_dim=256, intermediate_dim=512, layers=4, vocabulary_size=4096)
    for params in (TinyPolicy.Params(), largest):
        attention = 4 * params.hidden_dim**2 + 4 * params.hidden_dim
        layer = attention + 3 * params.hidden_dim * params.intermediate_dim + 2 * params.hidden_dim
        total = params.vocabulary_size * params.hidden_dim + params.layers * layer + params.hidden_dim
        assert total < 5_000_000


def test_parameters_that_make_no_model_are_refused() -> None:
    with pytest.raises(ValidationError, match="multiple of heads"):
        TinyPolicy.Params(hidden_dim=100, heads=16)


def test_a_record_that_is_too_long_says_how_to_shorten_it(tmp_path: Path) -> None:
    cases = make_cases(20, seed=1)
    raw = RecordText(RecordTextParams()).fit(cases)
    params = TINY.model_copy(update={"max_length": 64})
    with pytest.raises(UserError, match="max_length 64") as raised:
        TinyPolicy(params).prepare(cases, raw, StageRun({}, {}, 0, tmp_path))
    assert "periods" in raised.value.message


@pytest.mark.slow
def test_values_and_instructions_in_full_are_read_as_well(tmp_path: Path) -> None:
    cases = make_cases(60, seed=1)
    flagged = RecordText(RecordTextParams(values="flagged", periods=1)).fit(cases)
    TinyPolicy(TINY).prepare(cases, flagged, StageRun({}, {}, 0, tmp_path))
    model = TransformersModel.load(tmp_path, batch_size=32)
    predictions = answer_cases(
        model, cases.select(range(10)), flagged, STYLES["vanilla"], AnswerMode(), seed=0, max_new_tokens=50
    )
    assert np.mean([prediction.probability is None for prediction in predictions]) < 0.1


def test_written_files_name_no_path_of_this_machine(prepared) -> None:
    for path in prepared.folder.glob("*.json"):
        assert str(prepared.folder) not in path.read_text()
        json.loads(path.read_text())
