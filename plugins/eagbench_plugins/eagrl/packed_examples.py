"""Collate a batch of fine-tuning examples so that what a case's texts share is read once.

Imported late, because it imports torch. The examples of a batch that begin with the same tokens become one row, laid
out as in `shared_prompts`: what they share, then each one's own tokens. The last shared token stands before each, since
it predicts the first of them. A loss over such a row is that of its examples one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch

from eagbench.api import count_tokens
from eagbench_plugins.eagrl.shared_prompts import NO_LABEL, visible


class PackedCollator:
    """Packs the examples of a batch by what they begin with.

    Args:
        pad_token_id: The token to pad with.
    """

    def __init__(self, pad_token_id: int) -> None:
        self._pad = pad_token_id

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Build `input_ids`, `position_ids`, `labels` and `weights`, (P, L) each, and `attention_mask`, (P, 1, L, L).

        Args:
            examples: `input_ids`, `labels` and `weights` of each, as `sft_training.encode` makes them.
        """
        rows = [_packed(group) for group in _groups(examples)]
        count_tokens(sum(len(row["input_ids"]) for row in rows))
        longest = max(len(row["input_ids"]) for row in rows)

        def filled(name: str, value: float, dtype: torch.dtype) -> torch.Tensor:
            lists = [[*row[name], *[value] * (longest - len(row[name]))] for row in rows]
            return torch.tensor(lists, dtype=dtype)

        return {
            "input_ids": filled("input_ids", self._pad, torch.long),
            "position_ids": filled("position_ids", 0, torch.long),
            "attention_mask": visible(filled("branch", -1, torch.long)),
            "labels": filled("labels", NO_LABEL, torch.long),
            "weights": filled("weights", 0.0, torch.float32),
        }


def _groups(examples: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Group the examples whose prompts share more than half of their tokens from the first on.

    A chat template begins every prompt alike. To share that alone would make long rows, and save nothing.
    """
    groups: list[list[dict[str, Any]]] = []
    for example in examples:
        for group in groups:
            if 2 * _shared([*group, example]) > _prompt([*group, example]):
                group.append(example)
                break
        else:
            groups.append([example])
    return groups


def _prompt(examples: Sequence[dict[str, Any]]) -> int:
    """Count the tokens of the shortest prompt."""
    return min(sum(1 for _ in takewhile(lambda label: label == NO_LABEL, e["labels"])) for e in examples)


def _shared(examples: Sequence[dict[str, Any]]) -> int:
    """Count the tokens that all examples begin with and none of them has to write."""
    columns = zip(*(e["input_ids"][: _prompt(examples)] for e in examples), strict=True)
    return sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, columns))


def _packed(group: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Lay one group out as a row: the trunk is branch 0, the examples are branches 1, 2, ..."""
    trunk = _shared(group) - 1
    row: dict[str, list[Any]] = {
        "input_ids": group[0]["input_ids"][:trunk],
        "position_ids": [*range(trunk)],
        "branch": [0] * trunk,
        "labels": [NO_LABEL] * trunk,
        "weights": [0.0] * trunk,
    }
    for number, example in enumerate(group, start=1):
        own = len(example["input_ids"]) - trunk
        row["position_ids"] += range(trunk, trunk + own)
        row["branch"] += [number] * own
        for name in ("input_ids", "labels", "weights"):
            row[name] += example[name][trunk:]
    return row
