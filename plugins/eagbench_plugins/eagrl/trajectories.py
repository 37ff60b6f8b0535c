"""Stage `trajectories`: search for high-reward trajectories on training cases.

The stage writes `trajectories.jsonl` (every finished trajectory with its reward's parts, best first) and `trees.jsonl`
(the search tree, if the search keeps one), each with one line per case in the order of the training cases. It also
writes `summary.json`, a summary of the results by class.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.api import (
    Case,
    FeatureVocabulary,
    LabelledCases,
    RecordText,
    Reward,
    RewardTraits,
    SearchResult,
    SearchTask,
    SearchTraits,
    StageRun,
    Thought,
    Trajectory,
    WritesOn,
    attention_probe,
    create_component,
    measure_attention,
    open_policy,
    prompt_text,
    prompt_with_spans,
    read_answer,
    read_salience,
    refuse_long_prompts,
    style_of,
    traits_of,
)
from eagbench_plugins.eagrl.case_by_case import search_case_by_case
from eagbench_plugins.eagrl.fitted_reward import fitted_reward
from eagbench_plugins.eagrl.journal import JournaledModel


def search_trajectories(run: StageRun) -> None:
    """Search the cases in batches; finished batches and the journals of the running one survive a kill.

    Params: `search` and `reward` (identities of components), `style`, `token_budget`, `max_new_tokens`, `batch_cases`,
    `max_training_cases`. Inputs: `training`, `policy`, `record_text`, and `salience` if the method has an expert.
    """
    train = chosen_cases(run.inputs["training"].train, run.params["max_training_cases"], run.seed)
    model = open_policy(run.inputs["policy"])
    search = create_component(run.params["search"])
    style = style_of(run.params["style"])
    vocabulary = FeatureVocabulary(train.cases.features)
    reward = fitted_reward(run, train.cases)
    record_text = RecordText.load(run.inputs["record_text"])
    tasks = _tasks(train, record_text, reward, run)
    refuse_long_prompts(model, [task.prompt for task in tasks], 1, "stage trajectories")
    probe = attention_probe(model) if traits_of(reward, RewardTraits).needs_attention else None

    def read(case: Case, text: str, tokens: int, thought: Thought | None = None) -> Trajectory:
        trajectory = read_answer(style, case, text, tokens, vocabulary, thought)
        if probe is None or trajectory.probability is None:
            return trajectory
        prompt, spans = prompt_with_spans(style, case, train.cases, record_text)
        (attention,) = measure_attention(probe, [prompt], [spans], [trajectory.text], style, [trajectory.thought])
        return dataclasses.replace(trajectory, attention=attention)

    case_by_case = traits_of(search, SearchTraits).case_by_case
    local = model if isinstance(model, WritesOn) and model.writes_on and case_by_case else None
    starts = range(0, len(tasks), run.params["batch_cases"])
    lines: list[dict[str, Any]] = []
    for start in run.progress(starts, "search", len(starts)):
        done = run.checkpoints / f"cases_{start}.jsonl"
        if not done.exists():
            batch = tasks[start : start + run.params["batch_cases"]]
            if local is not None:
                results = search_case_by_case(search, local, batch, read, run.params["token_budget"], run.seed)
            else:
                journaled = JournaledModel(model, batch, run.checkpoints / "journal")
                results = search.run(journaled, batch, read, run.params["token_budget"], run.seed)
            _write_lines(done, [_line(result) for result in results])
        lines += _read_lines(done)
    run.add_cost("generated_tokens", sum(line["generated_tokens"] for line in lines))
    truncated = sum(t.get("truncated_thought", False) for line in lines for t in line["trajectories"])
    if truncated:
        run.add_cost("truncated_thought", truncated)
    trees = [{"case_id": line["case_id"], "tree": tree} for line in lines if (tree := line.pop("tree")) is not None]
    _write_lines(run.out / "trajectories.jsonl", lines)
    _write_lines(run.out / "trees.jsonl", trees)
    label = dict(zip(train.cases.case_ids, train.labels.tolist(), strict=True))
    summary = json.dumps(summarise(lines, label), indent=1, sort_keys=True)
    (run.out / "summary.json").write_text(summary + "\n", encoding="utf-8")


def chosen_cases(train: LabelledCases, most: int | None, seed: int) -> LabelledCases:
    """Draw at most `most` training cases, half of them positive if there are enough; keep their order.

    Args:
        train: All training cases.
        most: Maximum number of cases; None keeps all.
        seed: Seed of the draw.
    """
    if most is None or most >= len(train):
        return train
    order = np.random.default_rng([seed, 0]).permutation(len(train))
    positive, negative = (order[train.labels[order] == label] for label in (1, 0))
    n_positive = min(len(positive), max(most // 2, most - len(negative)))
    kept = np.concatenate([positive[:n_positive], negative[: most - n_positive]])
    return train.select(np.sort(kept))


def _tasks(train: LabelledCases, record_text: RecordText, reward: Reward, run: StageRun) -> list[SearchTask]:
    salience = read_salience(run.inputs["salience"]) if "salience" in run.inputs else {}
    style = style_of(run.params["style"])
    tasks = []
    for case, label in zip(train.cases, train.labels.tolist(), strict=True):
        weights: Mapping[str, float] | None = salience.get(case.case_id)
        if "salience" in run.inputs and weights is None:
            raise ValueError(f"the salience stage has no weights for the training case {case.case_id}")
        tasks.append(
            SearchTask(
                case=case,
                prompt=prompt_text(style, case, train.cases, record_text),
                reward=partial(reward, case, label, salience=weights),
                stop=(style.answer_close,),
                max_new_tokens=run.params["max_new_tokens"],
                salience=weights,
            )
        )
    return tasks


def _line(result: SearchResult) -> dict[str, Any]:
    return {
        "case_id": result.case_id,
        "generated_tokens": result.generated_tokens,
        "trajectories": [
            {**trajectory.as_json(), "reward": dict(reward)}
            for trajectory, reward in zip(result.trajectories, result.rewards, strict=True)
        ],
        "tree": result.tree,
    }


def _write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    partial_path = path.with_suffix(".partial")
    with partial_path.open("w", encoding="utf-8") as stream:
        for line in lines:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    partial_path.replace(path)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def read_trajectories(folder: Path) -> list[dict[str, Any]]:
    """Read `trajectories.jsonl`; each line has `case_id`, `generated_tokens` and `trajectories` (best first)."""
    return _read_lines(folder / "trajectories.jsonl")


def summarise(lines: Sequence[Mapping[str, Any]], label: Mapping[str, int]) -> dict[str, Any]:
    """Summarise the search results for each class.

    The summary has counts, mean reward parts and the answers' distribution, for all trajectories and for the best
    trajectory per case.
    """
    summary: dict[str, Any] = {}
    for name, value in (("negative", 0), ("positive", 1)):
        found = [line for line in lines if label[line["case_id"]] == value]
        every = [trajectory for line in found for trajectory in line["trajectories"]]
        best = [line["trajectories"][0] for line in found if line["trajectories"]]
        summary[name] = {
            "cases": len(found),
            "generated_tokens": sum(line["generated_tokens"] for line in found),
            "all": _described(every),
            "best": _described(best),
        }
    return summary


def _described(trajectories: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    answers = [t["probability"] for t in trajectories if t["probability"] is not None]
    parts = sorted({part for t in trajectories for part in t["reward"]})
    return {
        "trajectories": len(trajectories),
        "unparsed": len(trajectories) - len(answers),
        "mean_reward": {part: float(np.mean([t["reward"][part] for t in trajectories])) for part in parts},
        "mean_cited": float(np.mean([len(t["cited_features"] or ()) for t in trajectories])) if trajectories else None,
        "answers_by_tenth": np.histogram(answers, bins=10, range=(0.0, 1.0))[0].tolist(),
    }
