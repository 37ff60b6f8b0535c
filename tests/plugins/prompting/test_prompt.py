"""The method `prompt`: opens what its stages made, answers, and counts its tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from eagbench.api import Case, Cases, Feature, RecordText, RecordTextParams, StageRun, Task
from eagbench_plugins.policies.tiny.policy import TinyPolicy
from eagbench_plugins.prompting.prompt import Prompt

FEATURES = ("heart_rate", "lactate", "ph")


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The folders of the stages `policy` and `record_text`, and cases to predict."""
    rng = np.random.default_rng(0)
    items = tuple(
        Case(
            f"c{i}",
            f"c{i}",
            FEATURES,
            np.array([1.0]),
            rng.normal(size=(1, 3)).astype(np.float32),
            {"age": 50, "sex": 1},
        )
        for i in range(40)
    )
    task = Task("mortality", "die", "a physician", 24.0)
    cases = Cases(tuple(Feature(n, n, "1", (-9, 9)) for n in FEATURES), ("age", "sex"), task, items)
    record_text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(cases)
    text_folder, policy_folder = tmp_path_factory.mktemp("text"), tmp_path_factory.mktemp("policy")
    record_text.save(text_folder)
    params = TinyPolicy.Params(steps=150, hidden_dim=64, intermediate_dim=64, layers=2, batch_size=15)
    TinyPolicy(params).prepare(cases, record_text, StageRun({}, {}, 0, policy_folder))
    (policy_folder / "policy.json").write_text(json.dumps({"name": "tiny", "params": params.model_dump(mode="json")}))
    return {"policy": policy_folder, "record_text": text_folder, "cases": cases}


def _predict(stages, out: Path, answer: object, seed: int = 0):
    run = StageRun({"answer": answer}, {k: stages[k] for k in ("policy", "record_text")}, seed, out)
    return Prompt(Prompt.Params(max_new_tokens=100)).predict(stages["cases"], run), run


def test_it_answers_every_case_in_the_benchmarks_mode(stages, tmp_path: Path) -> None:
    predictions, run = _predict(stages, tmp_path, {"mode": "mean_of_n", "samples": 3})
    assert [p.case_id for p in predictions] == list(stages["cases"].case_ids)
    assert {p.answer_mode for p in predictions} == {"mean_of_n"}
    assert {len(p.trajectories) for p in predictions} == {3}
    written = sum(t.generated_tokens for p in predictions for t in p.trajectories)
    assert run.costs == {"generated_tokens": written}
    assert np.mean([p.probability is None for p in predictions]) < 0.2


def test_seed_decides_the_samples(stages, tmp_path: Path) -> None:
    answer = {"mode": "mean_of_n", "samples": 2}
    first = _predict(stages, tmp_path, answer)[0]
    assert _predict(stages, tmp_path, answer)[0] == first
    assert _predict(stages, tmp_path, answer, seed=1)[0] != first


def test_stages_are_the_policy_and_the_record_text() -> None:
    class Plan:
        def policy(self) -> str:
            return "policy node"

        def record_text(self) -> str:
            return "record text node"

    assert Prompt(Prompt.Params()).stages(Plan()) == {"policy": "policy node", "record_text": "record text node"}


def test_an_unknown_style_is_refused_while_planning() -> None:
    with pytest.raises(ValidationError, match="question_decomposition"):
        Prompt.Params(style="chain_of_thought")
