"""Select the trajectories that supervised fine-tuning learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from eagbench.api import StrictParams


class Selection(StrictParams):
    """Selection rules.

    Attributes:
        top_k: Maximum number of trajectories per case, the best by total reward; duplicate texts count once.
        balance: Repeat the trajectories of the rarer class, in turn, until both classes have equally many.
        minimum_reward_positive: Minimum total reward of a trajectory of a positive case; None accepts any.
        minimum_reward_negative: The same for a negative case.
    """

    top_k: int = Field(default=2, ge=1)
    balance: bool = True
    minimum_reward_positive: float | None = None
    minimum_reward_negative: float | None = None


@dataclass(frozen=True, slots=True)
class SelectedTrajectory:
    """A text to learn.

    Attributes:
        case_id: Whom it is about.
        label: The outcome of the case.
        text: The text.
        probability: The probability that it answers.
        format_weight: Weight in the loss of all tokens but those of the probability.
    """

    case_id: str
    label: int
    text: str
    probability: float
    format_weight: float = 1.0


def select(found: Sequence[Mapping[str, Any]], label: Mapping[str, int], rules: Selection) -> list[SelectedTrajectory]:
    """Select the trajectories to learn from, in the order of the cases; repeats of the rarer class come last.

    An unparsed answer is never selected.

    Args:
        found: Lines of `trajectories.jsonl`.
        label: Label by case id.
        rules: The selection rules.
    """
    least = {0: rules.minimum_reward_negative, 1: rules.minimum_reward_positive}
    chosen: list[SelectedTrajectory] = []
    for line in found:
        case_id = line["case_id"]
        bound = least[label[case_id]]
        texts: dict[str, float] = {}
        for trajectory in line["trajectories"]:
            good = bound is None or trajectory["reward"]["total"] >= bound
            if trajectory["probability"] is not None and good and len(texts) < rules.top_k:
                # A policy that thinks learns the thought as well: without it, the answer would stand in its place.
                texts.setdefault(trajectory.get("thought", "") + trajectory["text"], trajectory["probability"])
        chosen += [SelectedTrajectory(case_id, label[case_id], text, p) for text, p in texts.items()]
    return balanced(chosen) if rules.balance else chosen


def balanced(chosen: Sequence[SelectedTrajectory]) -> list[SelectedTrajectory]:
    """Append repeats of the rarer class, in turn, until both classes have equally many."""
    by_label = {value: [item for item in chosen if item.label == value] for value in (0, 1)}
    rarer, commoner = sorted(by_label.values(), key=len)
    missing = len(commoner) - len(rarer) if rarer else 0
    return [*chosen, *(rarer[i % len(rarer)] for i in range(missing))]
