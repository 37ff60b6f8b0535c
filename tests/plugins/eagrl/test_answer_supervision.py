"""Plain supervision on the answer: the cases of Stage I, the label as the text, and a policy that learns from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from eagbench.api import ANSWER_LEVELS, STYLES, AnswerMode, RecordText, answer_cases, open_policy
from eagbench_plugins.eagrl.answer_supervision import AnswerSupervision, fine_tune_on_answers, supervised_answers
from eagbench_plugins.eagrl.answer_targets import answer_levels
from eagbench_plugins.eagrl.fine_tuning import FineTuning
from eagbench_plugins.eagrl.sft_training import Example, encode
from eagbench_plugins.eagrl.trajectories import chosen_cases
from eagbench_plugins.eagrl.trajectory_distillation import TrajectoryDistillation
from tests.plugins.eagrl.conftest import Prepared, stage_run

LEVELS = [float(level) for level in ANSWER_LEVELS]


def tuned(out: Path, prepared: Prepared, most: int | None = None, balance: bool = True, **sft: Any) -> Path:
    chosen = FineTuning(**{"steps": 8, **sft}).model_dump(mode="json")
    params = {
        "max_training_cases": most,
        "balance": balance,
        "style": "vanilla",
        "answer_target": "label",
        "soft_answers": False,
        "levels": LEVELS,
        "sft": chosen,
    }
    fine_tune_on_answers(stage_run(out, prepared.inputs, params))
    return out


def test_the_answer_is_the_level_nearest_the_label(prepared: Prepared, tmp_path: Path) -> None:
    train = prepared.training.train
    levels = answer_levels("label", train, stage_run(tmp_path / "out", prepared.inputs, {"levels": LEVELS}))
    answers = supervised_answers(train, levels, STYLES["vanilla"])
    assert [(a.case_id, a.label) for a in answers] == list(
        zip(train.cases.case_ids, train.labels.tolist(), strict=True)
    )
    assert {(a.label, a.text, a.probability) for a in answers} == {
        (0, "<answer>0.05</answer>", 0.05),
        (1, "<answer>0.95</answer>", 0.95),
    }


def test_the_share_of_the_answer_in_the_loss(prepared: Prepared) -> None:
    """What the module says about weights: one token of 30 beside the two tags and the end."""
    policy: Any = open_policy(prepared.inputs["policy"])
    row = encode(Example("age=q1\n", "<answer>0.95</answer>"), policy, STYLES["vanilla"], 30.0)
    assert [weight for weight in row["weights"] if weight] == [1.0, 30.0, 1.0, 1.0]


@pytest.mark.parametrize("balance", [True, False])
def test_it_learns_from_the_cases_that_stage_one_searches(prepared: Prepared, tmp_path: Path, balance: bool) -> None:
    described = json.loads((tuned(tmp_path / "out", prepared, 30, balance) / "selected.json").read_text())
    labels = chosen_cases(prepared.training.train, 30, 0).labels
    counts = {"negative": int((labels == 0).sum()), "positive": int(labels.sum())}
    assert described["distinct"] == 30
    for name, share in counts.items():
        assert described[name]["trajectories"] == (max(counts.values()) if balance else share)
        assert np.count_nonzero(described[name]["answers_by_tenth"]) == 1


def test_without_balance_the_rarer_class_is_not_repeated(prepared: Prepared, tmp_path: Path) -> None:
    counts = np.bincount(prepared.training.train.labels)
    assert counts[0] != counts[1]
    plain, balanced = (
        json.loads((tuned(tmp_path / str(balance), prepared, None, balance) / "selected.json").read_text())
        for balance in (False, True)
    )
    assert [plain[name]["trajectories"] for name in ("negative", "positive")] == counts.tolist()
    assert [balanced[name]["trajectories"] for name in ("negative", "positive")] == [counts.max()] * 2


def test_it_learns_what_the_base_policy_does_not_know(prepared: Prepared, tmp_path: Path) -> None:
    folder = tuned(tmp_path / "out", prepared, steps=100, learning_rate=3e-3, checkpoint_every=1000)
    answers = answer_cases(
        open_policy(folder),
        prepared.fresh.cases,
        RecordText.load(prepared.inputs["record_text"]),
        STYLES["vanilla"],
        AnswerMode(mode="expectation"),
        seed=0,
        max_new_tokens=32,
    )
    assert all(p.probability is not None for p in answers)
    assert roc_auc_score(prepared.fresh.labels, [p.probability for p in answers]) > 0.75


def test_its_training_settings_are_those_of_stage_one() -> None:
    ours, stage_one = AnswerSupervision.Params(), TrajectoryDistillation.Params()
    for name in ("sft", "balance", "max_training_cases"):
        assert getattr(ours, name) == getattr(stage_one, name)


def test_answers_alone_are_learnt_in_any_words_and_in_one_format() -> None:
    words = {"name": "mine", "format": "vanilla", "instruction": "Only <answer>0.00</answer>"}
    assert AnswerSupervision.Params.model_validate({"style": words}).model_dump(mode="json")["style"]["name"] == "mine"
    with pytest.raises(ValueError, match="in the format 'vanilla', not in 'think_answer'"):
        AnswerSupervision.Params.model_validate({"style": "think_answer"})


def test_a_benchmark_with_it_has_no_expert_and_no_search(cli: Any, tmp_path: Path, physionet_root: Path) -> None:
    path = tmp_path / "benchmark.yaml"
    path.write_text(
        f"""
name: supervised
data: {{name: physionet2012, root: {physionet_root}, task: in_hospital_mortality}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2, seed: 0}}
policy: {{name: tiny, steps: 100, hidden_dim: 48, intermediate_dim: 96, layers: 2}}
record_text: {{values: quantile, periods: 1, instructions: short}}
answer: expectation
methods:
  - {{name: sft, max_training_cases: 40, sft: {{steps: 8}}}}
metrics: [auroc, unparsed_rate]
"""
    )
    planned = cli("plan", path)
    assert planned.code == 0, planned.err
    assert "sft" in planned.out
    assert not any(kind in planned.out for kind in ("salience", "trajectories", "expert"))
    done = cli("run", path, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "auroc" in (tmp_path / "run" / "results.csv").read_text()
