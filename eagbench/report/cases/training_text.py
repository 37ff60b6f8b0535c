"""What `eagbench show --training` prints: the cases that were searched, and one with its tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eagbench.config.suggestions import nearest
from eagbench.errors import UserError
from eagbench.report.cases.terminal import plain, record_lines
from eagbench.runs.cases.past_stages import MissingStageError, PastStages
from eagbench.runs.cases.training import Search, SearchedCase, searches
from eagbench.runs.reader import RunFolder

_SHOWN_TRAJECTORIES = 3
_LONGEST = 70


def searched_list_text(run: RunFolder, store: Path, most: int) -> str:
    """List the searched training cases, the lowest best reward first.

    Args:
        run: The run.
        store: The store's folder.
        most: How many to print of each search.

    Raises:
        UserError: The run searched none, or the store lacks them.
    """
    lines = []
    for search in _searches(run, store):
        ordered = sorted(search.cases, key=lambda c: -1e9 if c.best_reward is None else c.best_reward)
        lines += [f"{search.label}: {len(ordered):,} training cases searched, the lowest best reward first", ""]
        lines.append("label  best reward  trajectories  nodes  case")
        for case in ordered[:most]:
            best = "none" if case.best_reward is None else f"{case.best_reward:.3f}"
            lines.append(
                f"{case.label:>5}  {best:>11}  {len(case.trajectories):>12}  {len(case.tree):>5}  {case.case_id}"
            )
        lines.append("")
    return plain("\n".join(lines).rstrip())


def searched_case_text(run: RunFolder, store: Path, case_id: str) -> str:
    """Print a training case: record, the best trajectories with their rewards, and the search tree.

    Args:
        run: The run.
        store: The store's folder.
        case_id: The case.

    Raises:
        UserError: The run searched no such case, or the store lacks it.
    """
    found = _searches(run, store)
    lines = []
    for search in found:
        for case in search.cases:
            if case.case_id == case_id:
                lines += [f"training case {case_id}: the label is {case.label} ({search.label})", ""]
                lines += [*_record(search, case_id), "", *_trajectories(case), "", *tree_lines(case.tree), ""]
    if not lines:
        ids = [case.case_id for search in found for case in search.cases]
        hint = nearest(case_id, ids) or f"there are {len(ids):,} cases, for example '{ids[0]}'"
        raise UserError(f"the run searched no training case '{case_id}'", where="eagbench show", hint=hint)
    return plain("\n".join(lines).rstrip())


def _searches(run: RunFolder, store: Path) -> list[Search]:
    found, missing = searches(PastStages(run.manifest, store))
    if missing:
        raise UserError("; ".join(missing), where=str(store), hint="set EAGBENCH_STORE to the run's store")
    if not found:
        raise UserError("the run searched no training cases", where=str(run.path), hint="stage I of EAG-RL does")
    return found


def _record(search: Search, case_id: str) -> Iterator[str]:
    case = next(case for case in search.records if case.case_id == case_id)
    yield from record_lines(search.records, case)
    try:
        weights = search.salience.get(case_id, {})
    except MissingStageError as error:
        yield f"expert's weights: {error}"
        return
    ranked = sorted(weights, key=lambda name: -weights[name])[:5]
    if ranked:
        yield f"expert's weights: {', '.join(f'{name} {weights[name]:.3f}' for name in ranked)}"


def _trajectories(case: SearchedCase) -> Iterator[str]:
    yield f"{len(case.trajectories)} finished trajectories, {case.generated_tokens:,} tokens; best first"
    for number, trajectory in enumerate(case.trajectories[:_SHOWN_TRAJECTORIES], start=1):
        parts = ", ".join(f"{name} {value:.3f}" for name, value in trajectory["reward"].items())
        answer = trajectory["probability"]
        yield f"  {number}. answer {'unread' if answer is None else f'{answer:.3f}'}; reward: {parts}"
        yield f"     {trajectory['text']!r}"


def tree_lines(tree: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Draw a search tree: per node its visits, the mean and best return below it, and the step that leads there.

    Args:
        tree: The nodes in the order of their making; each names its parent's position.
    """
    if not tree:
        return
    children: dict[int | None, list[int]] = {}
    for position, node in enumerate(tree):
        children.setdefault(node.get("parent"), []).append(position)
    yield "search tree: visits, mean and best return, step"
    waiting = [(position, 0) for position in reversed(children.get(None, []))]
    while waiting:
        position, depth = waiting.pop()
        node = tree[position]
        mean, best = (("-" if node.get(k) is None else f"{node[k]:.2f}") for k in ("mean", "best"))
        text = " ".join(str(node.get("text", "")).split()) or "(root)"
        shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
        yield f"  {'  ' * depth}{node.get('visits', 0)}x  {mean}  {best}  {shown}"
        waiting += [(child, depth + 1) for child in reversed(children.get(position, []))]
