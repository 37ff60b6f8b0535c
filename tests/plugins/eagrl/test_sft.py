"""Fine-tuning: what the loss weighs, that it learns, repeats itself, survives a kill, and leaves a policy folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from eagbench.api import (
    STYLES,
    AnswerMode,
    Prediction,
    RecordText,
    UserError,
    answer_cases,
    open_policy,
    question,
    write_answer,
)
from eagbench_plugins.eagrl import selective_recomputation, sft_training, trained_policy
from eagbench_plugins.eagrl.answer_targets import bare_answers
from eagbench_plugins.eagrl.distillation import SelectedTrajectory
from eagbench_plugins.eagrl.fine_tuning import FineTuning
from eagbench_plugins.eagrl.sft import fine_tune, learn
from eagbench_plugins.eagrl.sft_training import Collator, Example, WeightedSFTTrainer, _by_prompt, encode
from eagbench_plugins.eagrl.training_memory import Division, Recomputed
from eagbench_plugins.eagrl.trajectory_distillation import TrajectoryDistillation
from tests.plugins.eagrl.conftest import Prepared, stage_run

STYLE = STYLES["question_decomposition"]
SELECTION = {"top_k": 1, "balance": True, "minimum_reward_positive": None, "minimum_reward_negative": None}


def params(**sft: Any) -> dict[str, Any]:
    chosen = FineTuning(**{"steps": 8, "checkpoint_every": 3, **sft}).model_dump(mode="json")
    return {
        "style": STYLE.name,
        "selection": SELECTION,
        "answer_target": "searched",
        "soft_answers": False,
        "learnt_reasoning": "steps",
        "bare_answers": False,
        "levels": None,
        "sft": chosen,
    }


@pytest.fixture(scope="module")
def inputs(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The inputs of the stage, with one right trajectory per training case: what a good search would have found."""
    folder = tmp_path_factory.mktemp("trajectories")
    rng = np.random.default_rng(0)
    train = prepared.training.train
    with (folder / "trajectories.jsonl").open("w") as stream:
        for case, label in zip(train.cases, train.labels, strict=True):
            feature = str(rng.choice(case.observed()))
            p = 0.9 if label else 0.1
            text = write_answer(STYLE, [(f"How is {feature}?", "noted")], [feature], p, "How likely?")
            found = {"text": text, "probability": p, "reward": {"total": 0.0}}
            stream.write(json.dumps({"case_id": case.case_id, "generated_tokens": 9, "trajectories": [found]}) + "\n")
    return {**prepared.inputs, "trajectories": folder}


def tuned(out: Path, inputs: dict[str, Any], **sft: Any) -> Path:
    run = stage_run(out, inputs, params(**sft))
    fine_tune(run)
    return run.out


def predictions(prepared: Prepared, policy: Path) -> list[Prediction]:
    record_text = RecordText.load(prepared.inputs["record_text"])
    mode = AnswerMode(mode="expectation")
    model = open_policy(policy)
    return answer_cases(model, prepared.fresh.cases, record_text, STYLE, mode, seed=0, max_new_tokens=80)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_only_the_completion_counts_and_only_the_probability_weighs_more(prepared: Prepared) -> None:
    model = open_policy(prepared.inputs["policy"])
    completion = write_answer(STYLE, [("How is lactate?", "0.05 mmol")], ["lactate"], 0.35, "q")
    row = encode(Example("sex=male\n", completion), model, STYLE, 30.0)
    n_prompt = len(model.tokenizer("sex=male\n")["input_ids"])
    assert row["labels"][:n_prompt] == [-100] * n_prompt
    assert row["labels"][n_prompt:] == row["input_ids"][n_prompt:]
    assert row["input_ids"][-1] == model.tokenizer.eos_token_id
    assert model.tokenizer.decode(row["input_ids"][n_prompt:-1]) == completion
    heavy = [i for i, weight in enumerate(row["weights"]) if weight == 30.0]
    assert model.tokenizer.decode([row["input_ids"][i] for i in heavy]) == "0.35"
    assert set(row["weights"]) == {0.0, 1.0, 30.0}
    assert row["weights"][:n_prompt] == [0.0] * n_prompt
    assert len(row["weights"]) == len(row["input_ids"])


def test_a_text_without_weight_teaches_its_probability_alone(prepared: Prepared) -> None:
    model = open_policy(prepared.inputs["policy"])
    completion = write_answer(STYLE, [], [], 0.35, "q")
    row = encode(Example("sex=male\n", completion, format_weight=0.0), model, STYLE, 30.0)
    learnt = [i for i, weight in enumerate(row["weights"]) if weight]
    assert model.tokenizer.decode([row["input_ids"][i] for i in learnt]) == "0.35"
    assert [row["weights"][i] for i in learnt] == [30.0] * len(learnt)


def test_the_list_of_features_weighs_what_it_is_told_to(prepared: Prepared) -> None:
    model = open_policy(prepared.inputs["policy"])
    # A step names lactate, too: that is no citation.
    completion = write_answer(STYLE, [("How is lactate?", "0.05 mmol")], ["lactate", "ph"], 0.35, "q")
    n_prompt = len(model.tokenizer("sex=male\n")["input_ids"])
    row = encode(Example("sex=male\n", completion), model, STYLE, 30.0, 4.0)
    heavier = [i for i, weight in enumerate(row["weights"]) if weight == 4.0]
    assert model.tokenizer.decode([row["input_ids"][i] for i in heavier]).strip() == "lactate, ph"
    assert row["weights"][-1] == 1.0
    rest = [w for i, w in enumerate(row["weights"]) if i not in heavier]
    plain = encode(Example("sex=male\n", completion), model, STYLE, 30.0)["weights"]
    assert rest == [w for i, w in enumerate(plain) if i not in heavier]
    assert {plain[i] for i in heavier} == {1.0}
    silent = encode(Example("sex=male\n", completion, format_weight=0.0), model, STYLE, 30.0, 4.0)
    assert set(silent["weights"][n_prompt:]) == {0.0, 30.0}


def _batch(prepared: Prepared, weight: float) -> tuple[Any, list[dict[str, Any]]]:
    model = open_policy(prepared.inputs["policy"])
    completions = [write_answer(STYLE, [("q", f"a {i}")] * i, ["lactate"], 0.1 * i, "q") for i in (1, 2, 3)]
    return model, [encode(Example(f"age=q{i}\n", c), model, STYLE, weight) for i, c in enumerate(completions)]


def _trainer(kind: Any, model: Any, rows: list[dict[str, Any]], out: Path, collator: Any) -> Any:
    from datasets import Dataset
    from trl import SFTConfig

    config = SFTConfig(
        output_dir=str(out),
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
    )
    data = Dataset.from_list(rows)
    return kind(
        model=model.model, args=config, train_dataset=data, data_collator=collator, processing_class=model.tokenizer
    )


def test_with_a_weight_of_one_the_loss_is_trls_own(prepared: Prepared, tmp_path: Path) -> None:
    from trl import SFTTrainer

    model, rows = _batch(prepared, 1.0)
    ours = _trainer(WeightedSFTTrainer, model, rows, tmp_path, Collator(0))
    loss = ours.compute_loss(model.model, Collator(0)(rows)).item()
    model, rows = _batch(prepared, 1.0)
    plain = [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]
    stock = _trainer(SFTTrainer, model, plain, tmp_path, None)
    assert loss == pytest.approx(stock.compute_loss(model.model, stock.data_collator(plain)).item(), abs=1e-6)


def test_the_weighted_loss_by_hand(prepared: Prepared, tmp_path: Path) -> None:
    model, rows = _batch(prepared, 7.0)
    numerator = denominator = 0.0
    for row in rows:  # one by one, without padding
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            log_probabilities = model.model(input_ids=ids).logits.log_softmax(-1)[0]
        for t in range(1, ids.shape[1]):
            weight = row["weights"][t]
            numerator -= weight * log_probabilities[t - 1, ids[0, t]].item()
            denominator += weight
    ours = _trainer(WeightedSFTTrainer, model, rows, tmp_path, Collator(0))
    assert ours.compute_loss(model.model, Collator(0)(rows)).item() == pytest.approx(numerator / denominator, abs=1e-5)


def test_it_learns_what_the_base_policy_does_not_know(prepared: Prepared, inputs: dict, tmp_path: Path) -> None:
    folder = tuned(tmp_path / "sft", inputs, steps=100, learning_rate=3e-3, checkpoint_every=1000)
    labels = prepared.fresh.labels

    def auroc(policy: Path) -> float:
        answers = predictions(prepared, policy)
        return roc_auc_score(labels, [0.5 if p.probability is None else p.probability for p in answers])

    before, after = auroc(prepared.inputs["policy"]), auroc(folder)
    assert abs(before - 0.5) < 0.12
    assert after > 0.7  # 0.73 to 0.77 over orders of the examples
    losses = [json.loads(line)["loss"] for line in (folder / "training.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    described = json.loads((folder / "selected.json").read_text())
    assert described["negative"]["trajectories"] == described["positive"]["trajectories"]


def test_the_same_seed_gives_the_same_bytes_and_a_kill_changes_nothing(
    inputs: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tuned(tmp_path / "a", inputs)
    assert weights(first) == weights(tuned(tmp_path / "b", inputs))
    assert capsys.readouterr().out == ""

    class KilledError(Exception):
        pass

    real, losses = WeightedSFTTrainer.compute_loss, []

    def dying(self, *args, **kwargs):
        if len(losses) == 5:
            raise KilledError
        losses.append(1)
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(WeightedSFTTrainer, "compute_loss", dying)
        with pytest.raises(KilledError):
            tuned(tmp_path / "c", inputs)
    assert (tmp_path / "c" / "checkpoints" / "checkpoint-3").is_dir()
    steps: list[int] = []

    def counting(self, *args, **kwargs):
        steps.append(self.state.global_step)
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(WeightedSFTTrainer, "compute_loss", counting)
        resumed = tuned(tmp_path / "c", inputs)
    assert steps == [3, 4, 5, 6, 7]
    assert weights(resumed) == weights(first)
    assert (resumed / "training.jsonl").read_bytes() == (first / "training.jsonl").read_bytes()


def test_accumulated_parts_of_a_batch_train_as_the_whole_does(inputs: dict, tmp_path: Path) -> None:
    """Each part is a mean of its own: equal up to the parts' different weights, far from a sum."""
    norms = [
        json.loads((tuned(tmp_path / str(n), inputs, steps=10, accumulate=n) / "training.jsonl").read_text())[
            "grad_norm"
        ]
        for n in (1, 2)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=0.3)


@pytest.mark.parametrize("lora", [None, {"rank": 4, "dropout": 0.2}])
def test_what_is_computed_again_where_memory_is_short_changes_no_byte(
    inputs: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: dict | None
) -> None:
    given = {"steps": 2, "batch_size": 4, "share_prompts": True, "lora": lora}
    plain = tuned(tmp_path / "plain", inputs, **given)
    monkeypatch.setattr(sft_training, "divide_step", lambda *_: Division(1, Recomputed.CHEAP))
    called, real = [], selective_recomputation.checkpoint
    monkeypatch.setattr(selective_recomputation, "checkpoint", lambda *a, **b: called.append(a[0]) or real(*a, **b))
    spared = tuned(tmp_path / "spared", inputs, **given)
    assert weights(spared) == weights(plain)
    assert {function.__name__ for function in called} == {"forward", "_row"}  # feed-forward blocks and attention


def test_adapters_are_merged_into_a_folder_like_any_other(prepared: Prepared, inputs: dict, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = tuned(tmp_path / "lora", inputs, lora={"rank": 4, "alpha": 8, "dropout": 0.0})
    before = load_file(prepared.inputs["policy"] / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("proj" in name for name in moved)
    assert not list(folder.glob("adapter*"))
    assert len(predictions(prepared, folder)) == len(prepared.fresh)


def test_a_model_folder_of_policy_hf_is_trained_as_well(prepared: Prepared, inputs: dict, tmp_path: Path) -> None:
    pointer = tmp_path / "policy"
    pointer.mkdir()
    described = {"name": "hf", "params": {"path": str(prepared.inputs["policy"]), "batch_size": 64, "dtype": "float32"}}
    (pointer / "policy.json").write_text(json.dumps(described))
    folder = tuned(tmp_path / "hf", {**inputs, "policy": pointer})
    assert weights(folder) == weights(tuned(tmp_path / "tiny", inputs))
    assert json.loads((folder / "policy.json").read_text()) == described
    answers = predictions(prepared, folder)
    assert np.mean([p.probability is None for p in answers]) < 0.2


@pytest.mark.parametrize("lora", [None, {"rank": 4}])
def test_a_policy_in_bfloat16_is_trained_in_it(
    prepared: Prepared, inputs: dict, tmp_path: Path, trained_in: set[torch.dtype], lora: dict | None
) -> None:
    pointer = tmp_path / "policy"
    pointer.mkdir()
    described = {"name": "hf", "params": {"path": str(prepared.inputs["policy"]), "dtype": "bfloat16"}}
    (pointer / "policy.json").write_text(json.dumps(described))
    tuned(tmp_path / "hf", {**inputs, "policy": pointer}, steps=1, lora=lora)
    assert trained_in == {torch.bfloat16}


def test_nothing_of_a_training_stays_in_memory(inputs: dict, tmp_path: Path, opened_models: list) -> None:
    tuned(tmp_path / "out", inputs, steps=1)
    assert [model() for model in opened_models] == [None]


def test_one_class_only_is_the_users_to_mend(inputs: dict, tmp_path: Path) -> None:
    given = params()
    given["selection"] = {**SELECTION, "minimum_reward_positive": 99.0}
    with pytest.raises(UserError, match="none of them of a positive case"):
        fine_tune(stage_run(tmp_path / "out", inputs, given))


def test_a_policy_without_weights_is_refused(inputs: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained_policy, "open_policy", lambda folder: object())
    with pytest.raises(UserError, match="can't be trained"):
        fine_tune(stage_run(tmp_path / "out", inputs, params()))


def test_soft_answers_are_learnt_in_versions_that_have_the_target_as_their_mean(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[Example] = []
    monkeypatch.setattr("eagbench_plugins.eagrl.sft_training.train", lambda examples, *_: learnt.extend(examples))
    train = prepared.training.train
    data = train.select(range(6))
    aims = dict(zip(data.cases.case_ids, (0.0, 0.03, 0.08, 0.333, 0.5, 0.97), strict=True))
    asked = question(data.cases.task)
    selected = [
        SelectedTrajectory(case_id, label, write_answer(STYLE, [], ["lactate"], 0.5, asked), 0.5)
        for case_id, label in zip(data.cases.case_ids, (0, 0, 0, 1, 1, 1), strict=True)
    ]
    selected = [*selected, *bare_answers(selected, data.cases, STYLE), selected[-1]]  # one is repeated
    for orders in (False, True):
        learnt.clear()
        chosen = FineTuning(other_orders=orders, share_prompts=True).model_dump(mode="json")
        run = stage_run(tmp_path / str(orders), prepared.inputs, {"sft": chosen, "levels": [0.01, 0.5, 0.9]})
        learn(selected, train, STYLE, run, aims)
        assert len(learnt) == 8 * len(selected)
        answers = np.array([probability_of(example) for example in learnt]).reshape(len(selected), 8)
        for item, row in zip(selected, answers, strict=True):
            aim = min(max(aims[item.case_id], 0.01), 0.9)
            assert abs(row.mean() - aim) <= 0.49 / 8
        # Of one version the text with reasoning and the bare answer have one probability and one prompt.
        assert np.array_equal(answers[:6], answers[6:12])
        prompts = np.array([example.prompt for example in learnt]).reshape(len(selected), 8)
        assert np.array_equal(prompts[:6], prompts[6:12])
        # A few features have few orders, some of which come twice.
        assert all((len(set(row)) > 1) == orders for row in prompts)
        described = json.loads((run.out / "selected.json").read_text())
        assert sum(described["positive"]["answers_by_tenth"]) == 8 * 7


def probability_of(example: Example) -> float:
    start = example.completion.rindex(STYLE.answer_open) + len(STYLE.answer_open)
    return float(example.completion[start : example.completion.index(STYLE.answer_close, start)])


def test_versions_that_share_a_prompt_are_learnt_apart() -> None:
    examples = [Example("a", "1", version=0), Example("a", "2", version=1), Example("a", "3", version=0)]
    assert _by_prompt(examples) == [[0, 2], [1]]


def test_soft_answers_need_a_target() -> None:
    with pytest.raises(ValueError, match="soft_answers"):
        TrajectoryDistillation.Params(soft_answers=True)
    assert TrajectoryDistillation.Params(soft_answers=True, answer_target="label").soft_answers
