"""Pack the trajectories of a group into one row that holds their prompt once. Imported late, because it imports torch.

    prompt without its last token | last token, trajectory 1 | last token, trajectory 2 | ...

A mask lets every trajectory see the prompt and itself, and positions count on from the prompt in each. The prompt's
last token, which predicts the first one of each trajectory, stands before each of them, so that every token of a
trajectory is predicted from the place before it, as a language model's loss expects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eagbench_plugins.eagrl.branch_attention import remember_layout

NO_LABEL = -100


@dataclass(frozen=True, slots=True)
class Packed:
    """P packs, padded on the right to one length L.

    Attributes:
        input_ids: (P, L).
        position_ids: (P, L).
        labels: The tokens to score, else `NO_LABEL`, (P, L).
        mask: What each place sees, (P, 1, L, L).
        rows: Which row of the batch a scored place belongs to, (P, L); -1 for none.
        columns: The place in that row's completion, (P, L).
    """

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    mask: Tensor
    rows: Tensor
    columns: Tensor


def groups_by_prompt(prompts: Tensor, mask: Tensor) -> list[list[int]]:
    """Group the rows of a batch by their prompt.

    Args:
        prompts: (N, Q), padded on the left.
        mask: (N, Q), 0 in the padding.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, (tokens, real) in enumerate(zip(prompts.tolist(), mask.tolist(), strict=True)):
        groups.setdefault(tuple(t for t, m in zip(tokens, real, strict=True) if m), []).append(row)
    return list(groups.values())


def pack(groups: Sequence[Sequence[int]], input_ids: Tensor, mask: Tensor, completion: int, pad: int) -> Packed:
    """Pack groups of rows with the same prompt, a group into a row.

    Args:
        groups: Rows of the batch, a list for each of P packs.
        input_ids: Prompts and completions, (N, Q + C).
        mask: 0 in the padding and where a completion is left out, (N, Q + C).
        completion: C.
        pad: The token that fills up.
    """
    prompt = input_ids.size(1) - completion
    rows = [_row(group, input_ids, mask, prompt) for group in groups]
    longest = max(len(row.tokens) for row in rows)

    def filled(name: str, value: int) -> Tensor:
        lists = [getattr(row, name) for row in rows]
        return torch.tensor([[*own, *[value] * (longest - len(own))] for own in lists], device=input_ids.device)

    return Packed(
        input_ids=filled("tokens", pad),
        position_ids=filled("positions", 0),
        labels=filled("labels", NO_LABEL),
        mask=visible(filled("branch", -1)),
        rows=filled("rows", -1),
        columns=filled("columns", 0),
    )


def visible(branch: Tensor) -> Tensor:
    """Tell for each place what it sees: its own branch and branch 0, as far as they come before it.

    The layout is remembered for attention that goes branch by branch (`branch_attention`).

    Args:
        branch: (P, L), the branches in their order; -1 in the padding.

    Returns:
        (P, 1, L, L), bool.
    """
    causal = torch.ones(branch.size(1), branch.size(1), dtype=torch.bool, device=branch.device).tril()
    own = branch[:, :, None] == branch[:, None, :]  # (P, L, L)
    mask = ((own | (branch[:, None, :] == 0)) & causal)[:, None]
    remember_layout(mask, branch)
    return mask


@dataclass(frozen=True, slots=True)
class _Row:
    """One pack as lists: the trunk is branch 0, the trajectories are branches 1, 2, ..."""

    tokens: list[int]
    positions: list[int]
    labels: list[int]
    branch: list[int]
    rows: list[int]
    columns: list[int]


def _row(group: Sequence[int], input_ids: Tensor, mask: Tensor, prompt: int) -> _Row:
    first = mask[group[0], :prompt].bool()
    *trunk, last = input_ids[group[0], :prompt][first].tolist()
    n = len(trunk)
    row = _Row([*trunk], [*range(n)], [NO_LABEL] * n, [0] * n, [-1] * n, [0] * n)
    for number, i in enumerate(group, start=1):
        real = mask[i, prompt:].tolist()
        # A trajectory that is left out keeps one token without label, so that every row of the batch has a gradient.
        length = max((at + 1 for at, counts in enumerate(real) if counts), default=1)
        written = input_ids[i, prompt : prompt + length].tolist()
        row.tokens.extend([last, *written])
        row.positions.extend(range(n, n + length + 1))
        row.labels.extend([NO_LABEL, *(t if counts else NO_LABEL for t, counts in zip(written, real, strict=False))])
        row.branch.extend([number] * (length + 1))
        row.rows.extend([-1, *[i] * length])
        row.columns.extend([0, *range(length)])
    return row


def unpacked(values: Tensor, packed: Packed, n_rows: int, completion: int) -> Tensor:
    """Bring the values of packed places back to the rows of the batch.

    Args:
        values: A number for every place but the first, (P, L - 1).
        packed: The packs.
        n_rows: N.
        completion: C.

    Returns:
        (N, C), 0 where nothing was scored.
    """
    rows, columns = packed.rows[:, 1:], packed.columns[:, 1:]
    scored = rows >= 0
    target = rows[scored] * completion + columns[scored]
    flat = values.new_zeros(n_rows * completion)
    return flat.index_put((target,), values[scored]).view(n_rows, completion)
