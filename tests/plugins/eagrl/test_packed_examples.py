"""Fine-tuning on packed examples: the same loss and weights as one text at a time, from fewer tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from eagbench.api import STYLES, open_policy, write_answer
from eagbench_plugins.eagrl import branch_attention, sft_training
from eagbench_plugins.eagrl.fine_tuning import FineTuning
from eagbench_plugins.eagrl.packed_examples import PackedCollator
from eagbench_plugins.eagrl.sft_training import Collator, Example, encode, example_order, train
from tests.plugins.eagrl.conftest import Prepared, stage_run

STYLE = STYLES["question_decomposition"]
RECORD = "sex=male " + " ".join(f"feature_{i}=q{i % 10}" for i in range(12))


def texts(record: str, n: int) -> list[Example]:
    """Write n different answers about a record."""
    return [
        Example(f"{record}\n", write_answer(STYLE, [("q", f"a {i}")] * (i + 1), ["lactate"], 0.1 * (i + 1), "q"))
        for i in range(n)
    ]


def rows(prepared: Prepared, examples: list[Example]) -> tuple[Any, list[dict[str, Any]]]:
    model: Any = open_policy(prepared.inputs["policy"])
    return model, [encode(example, model, STYLE, 7.0) for example in examples]


def mean_loss(model: Any, batch: dict[str, torch.Tensor]) -> float:
    """Compute the weighted loss from whole logits, without the trainer."""
    weights, labels = batch.pop("weights")[:, 1:], batch.pop("labels")[:, 1:]
    log_p = model.model(**batch).logits.log_softmax(-1)[:, :-1]
    picked = log_p.gather(-1, labels.clamp(min=0)[:, :, None])[:, :, 0]
    return float(-(weights * picked).sum().detach() / weights.sum())


def test_the_loss_of_a_packed_batch_is_that_of_its_texts(prepared: Prepared) -> None:
    model, encoded = rows(prepared, [*texts(RECORD, 3), *texts(RECORD.replace("male", "female"), 2)])
    packed, padded = PackedCollator(0)(encoded), Collator(0)(encoded)
    assert packed["input_ids"].shape[0] == 2, "two records, two rows"
    assert packed["weights"].sum() == padded["weights"].sum()
    assert mean_loss(model, packed) == pytest.approx(mean_loss(model, padded), abs=1e-6)


def test_no_text_sees_another(prepared: Prepared) -> None:
    model, encoded = rows(prepared, texts(RECORD, 3))
    alone = model.model(input_ids=torch.tensor([encoded[2]["input_ids"]])).logits[0, -5:]
    batch = PackedCollator(0)(encoded)
    together = model.model(**{k: v for k, v in batch.items() if k not in ("weights", "labels")}).logits[0, -5:]
    assert torch.allclose(alone, together, atol=1e-5)


def test_a_prompt_that_only_begins_alike_is_shared_as_far_as_it_is(prepared: Prepared) -> None:
    _, encoded = rows(
        prepared, [Example(f"{RECORD}\nFormat: {name}\n", texts(RECORD, 1)[0].completion) for name in "ab"]
    )
    packed = PackedCollator(0)(encoded)
    first, second = (row["input_ids"] for row in encoded)
    alike = next(i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    assert packed["input_ids"].shape == (1, len(first) + len(second) - (alike - 1))


def test_a_common_beginning_alone_joins_no_records(prepared: Prepared) -> None:
    """A chat template begins every prompt in the same way."""
    begin = " ".join(f"feature_{i}=q0" for i in range(6))
    records = [f"{begin} " + " ".join(f"feature_{i}=q{q}" for i in range(6, 18)) for q in (1, 2)]
    _, encoded = rows(prepared, [example for record in records for example in texts(record, 1)])
    assert PackedCollator(0)(encoded)["input_ids"].shape[0] == 2


def test_a_group_stays_together_in_every_order() -> None:
    order = example_order([[0, 3], [1], [2, 4, 5]], 12, seed=4)
    assert sorted(order[:6]) == sorted(order[6:]) == [0, 1, 2, 3, 4, 5]
    for part in (order[:6], order[6:]):
        assert part.index(3) == part.index(0) + 1
        assert [part.index(i) for i in (2, 4, 5)] == [*range(part.index(2), part.index(2) + 3)]


def test_training_reads_less_and_learns_the_same(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [RECORD.replace("sex=male", f"sex=male age=q{i}") for i in range(6)]
    examples = [example for record in records for example in texts(record, 4)]
    params = FineTuning(steps=6, batch_size=8, share_prompts=True, checkpoint_every=100)
    counted: dict[str, list[int]] = {"packed": [], "padded": []}

    def learn(name: str) -> dict[str, torch.Tensor]:
        run = stage_run(tmp_path / name, prepared.inputs, {})
        train(examples, prepared.inputs["policy"], STYLE, params, run)
        return load_file(run.out / "model.safetensors")

    monkeypatch.setattr("eagbench_plugins.eagrl.packed_examples.count_tokens", counted["packed"].append)
    with monkeypatch.context() as patched:
        patched.delattr(branch_attention, "sdpa_attention_forward")  # no pass attends over whole rows
        packed = learn("packed")
    monkeypatch.setattr(sft_training, "PackedCollator", Collator)
    monkeypatch.setattr(sft_training, "count_tokens", counted["padded"].append)
    padded = learn("padded")
    assert max((packed[name] - padded[name]).abs().max().item() for name in packed) < 1e-5
    assert sum(counted["packed"]) < 0.8 * sum(counted["padded"])
    losses = [json.loads(line)["loss"] for line in (tmp_path / "packed" / "training.jsonl").open()]
    assert losses == pytest.approx(
        [json.loads(line)["loss"] for line in (tmp_path / "padded/training.jsonl").open()], abs=1e-5
    )
