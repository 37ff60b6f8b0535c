"""Dynamic sampling: groups without spread give way to other cases, within bounds, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eagbench.api import Trajectory, open_policy
from eagbench_plugins.eagrl.adaptive_clipping import AdaptiveClippingTrainer
from eagbench_plugins.eagrl.dynamic_sampling import DynamicSamplingTrainer
from eagbench_plugins.eagrl.optimisation import JudgedCase, Reserve
from eagbench_plugins.eagrl.policy_optimisation import optimise_policy
from tests.plugins.eagrl.conftest import Prepared, stage_run
from tests.plugins.eagrl.test_policy_optimisation import curves, params, weights

GROUP = 4


@given(st.lists(st.sampled_from([0, 1]), min_size=1, max_size=30), st.data())
def test_a_reserve_holds_every_other_case_once_and_keeps_the_class(labels: list[int], data: st.DataObject) -> None:
    batch = data.draw(st.lists(st.sampled_from(range(len(labels))), unique=True, min_size=1))
    seed = data.draw(st.integers(0, 5))
    reserve, again = (Reserve(np.array(labels), batch, seed) for _ in range(2))
    for label in (0, 1):
        holder = next((i for i in batch if labels[i] == label), None)
        if holder is None:
            continue
        others = [i for i in range(len(labels)) if labels[i] == label and i not in batch]
        taken = [reserve.instead_of(holder) for _ in others]
        assert sorted(i for i in taken if i is not None) == others
        assert taken == [again.instead_of(holder) for _ in others]
        assert reserve.instead_of(holder) is None


def test_the_order_of_a_reserve_follows_from_the_batch() -> None:
    labels = np.zeros(50, dtype=int)
    orders = [
        [reserve.instead_of(0) for _ in range(47)]
        for reserve in (Reserve(labels, [0, 1, 2], 0), Reserve(labels, [0, 1, 3], 0), Reserve(labels, [0, 1, 2], 1))
    ]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


def _flat_for(monkeypatch: pytest.MonkeyPatch, flat: Any) -> None:
    """A reward that is the same for all texts of the cases that `flat` picks, and else tells texts apart."""

    def judge(self: JudgedCase, trajectory: Trajectory) -> dict[str, float]:
        told_apart = 0.01 * trajectory.generated_tokens + 0.001 * (sum(map(ord, trajectory.text)) % 97)
        return {"total": 1.0 if flat(self) else told_apart}

    monkeypatch.setattr(JudgedCase, "judge", judge)


class _Watched:
    """Rows, outputs and calls of the model of every generated batch of a training."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[list[int]] = []
        self.rows: list[list[int]] = []
        self.outputs: list[dict[str, torch.Tensor]] = []
        self.written: list[list[list[int]]] = []
        generate = AdaptiveClippingTrainer._generate_and_score_completions
        resample = DynamicSamplingTrainer._generate_and_score_completions
        write = DynamicSamplingTrainer._generate_single_turn

        def resampling(trainer: Any, inputs: Any) -> Any:
            self.asked.append([row["position"] for row in inputs])
            return resample(trainer, inputs)

        def generating(trainer: Any, inputs: Any) -> Any:
            self.rows.append([row["position"] for row in inputs])
            self.outputs.append(generate(trainer, inputs))
            return self.outputs[-1]

        def writing(trainer: Any, *args: Any, **kwargs: Any) -> Any:
            given_back = trainer._written is not None
            result = write(trainer, *args, **kwargs)
            if not given_back:
                self.written.append(result[0])
            return result

        monkeypatch.setattr(DynamicSamplingTrainer, "_generate_and_score_completions", resampling)
        monkeypatch.setattr(AdaptiveClippingTrainer, "_generate_and_score_completions", generating)
        monkeypatch.setattr(DynamicSamplingTrainer, "_generate_single_turn", writing)


def _optimised(prepared: Prepared, out: Path, **optimisation: Any) -> Any:
    run = stage_run(out, prepared.inputs, params(**optimisation))
    optimise_policy(run)
    return run


def test_groups_without_spread_give_way_to_other_cases(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = prepared.training.train
    labels = train.labels
    flat_ids = set(train.cases.case_ids[::2])
    _flat_for(monkeypatch, lambda judged: judged.case.case_id in flat_ids)
    seen = _Watched(monkeypatch)
    run = _optimised(prepared, tmp_path / "out", steps=2, resample_rounds=12, drop_truncated=True)
    lines = curves(run.out)
    for asked, rows, output, line in zip(seen.asked, seen.rows, seen.outputs, lines, strict=True):
        groups, before = rows[::GROUP], asked[::GROUP]
        assert rows == [i for i in groups for _ in range(GROUP)]
        assert len(set(groups)) == len(groups)
        replaced = [i for i, (new, old) in enumerate(zip(groups, before, strict=True)) if new != old]
        assert [i for i, old in enumerate(before) if train.cases.case_ids[old] in flat_ids] == replaced
        assert not {groups[i] for i in replaced} & set(before)
        assert all(labels[new] == labels[old] for new, old in zip(groups, before, strict=True))
        assert not {train.cases.case_ids[i] for i in groups} & flat_ids
        assert (output["advantages"].view(-1, GROUP).std(dim=1) > 0.1).all()
        assert {len(output[name]) for name in ("completion_ids", "old_per_token_logps", "upper_bound")} == {16}
        assert line["groups_resampled"] == len(replaced) / len(groups)
        assert line["groups_without_spread"] == 0
    assert any(line["groups_resampled"] > 0 for line in lines)
    written = sum(len(tokens) for batch in seen.written for tokens in batch)
    assert written > sum(line["length"] * 16 for line in lines)
    assert run.costs == {"generated_tokens": written}


def test_the_batch_that_is_learnt_is_what_was_written_about_its_cases(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts, completions and rewards of a mixed batch belong together, and the log is about them."""
    flat_ids = set(prepared.training.train.cases.case_ids[::2])
    _flat_for(monkeypatch, lambda judged: judged.case.case_id in flat_ids)
    judged: list[tuple[str, str, float]] = []
    scripted = JudgedCase.judge

    def noting(self: JudgedCase, trajectory: Trajectory) -> Any:
        parts = scripted(self, trajectory)
        judged.append((self.prompt, trajectory.text, parts["total"]))
        return parts

    monkeypatch.setattr(JudgedCase, "judge", noting)
    seen = _Watched(monkeypatch)
    run = _optimised(prepared, tmp_path / "out", steps=1, resample_rounds=12, standardise_advantages=False)
    tokenizer = open_policy(run.inputs["policy"]).tokenizer  # type: ignore[attr-defined]
    (output,) = seen.outputs
    texts = tokenizer.batch_decode(output["completion_ids"], skip_special_tokens=True)
    for tokens, mask, text, (prompt, read, _) in zip(
        output["prompt_ids"], output["prompt_mask"], texts, judged[-16:], strict=True
    ):
        assert tokenizer.decode(tokens[mask.bool()]) == prompt
        assert text.startswith(read)
    rewards = torch.tensor([total for *_, total in judged[-16:]]).view(-1, GROUP)
    expected = (rewards - rewards.mean(dim=1, keepdim=True)).flatten()
    torch.testing.assert_close(output["advantages"], expected, rtol=0, atol=1e-5)
    (line,) = curves(run.out)
    assert line["reward"] == pytest.approx(rewards.mean().item(), abs=1e-5)
    assert line["length"] == output["completion_mask"].sum().item() / 16


def test_a_batch_where_nothing_has_spread_ends_after_the_bounded_rounds(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _flat_for(monkeypatch, lambda judged: True)
    seen = _Watched(monkeypatch)
    run = _optimised(prepared, tmp_path / "out", steps=1, resample_rounds=2)
    assert [len(batch) for batch in seen.written] == [16, 16, 16]
    (line,) = curves(run.out)
    assert (line["groups_resampled"], line["groups_without_spread"]) == (1.0, 1.0)
    assert not seen.outputs[0]["advantages"].any()
    assert len(set(seen.asked[0]) | set(seen.rows[0])) == 8


def test_rounds_that_replace_nothing_change_nothing(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _flat_for(monkeypatch, lambda judged: False)
    without, with_rounds = (
        _optimised(prepared, tmp_path / str(rounds), steps=2, resample_rounds=rounds).out for rounds in (0, 3)
    )
    assert weights(without) == weights(with_rounds)
    assert curves(without) == curves(with_rounds)


def test_a_kill_changes_nothing(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat_ids = set(prepared.training.train.cases.case_ids[::2])
    _flat_for(monkeypatch, lambda judged: judged.case.case_id in flat_ids)
    whole = _optimised(prepared, tmp_path / "whole", resample_rounds=3)

    class KilledError(Exception):
        pass

    real, calls = DynamicSamplingTrainer._sample, []

    def dying(self: Any, inputs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KilledError
        return real(self, inputs)

    with monkeypatch.context() as patched:
        patched.setattr(DynamicSamplingTrainer, "_sample", dying)
        with pytest.raises(KilledError):
            _optimised(prepared, tmp_path / "killed", resample_rounds=3)
    resumed = _optimised(prepared, tmp_path / "killed", resample_rounds=3)
    assert weights(resumed.out) == weights(whole.out)
    for name in ("curves.jsonl", "summary.json"):
        assert (resumed.out / name).read_bytes() == (whole.out / name).read_bytes()
    assert resumed.costs == whole.costs
    summary = json.loads((whole.out / "summary.json").read_text())
    assert summary["groups_resampled"] > 0
