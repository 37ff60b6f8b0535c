"""Dynamic sampling (DAPO; Yu et al., arXiv 2503.14476, section 3.2): replace groups without spread by other cases.

If all rewards of a group are equal (see `reward_spread`), all its advantages are 0 and the policy learns nothing from
it. DAPO samples other prompts until the batch is full of groups whose rewards differ.

Departures from DAPO:
1. The number of rounds is bounded. A group that still has no spread after the last round stays in the batch.
2. A replacement case has the same class as the case it replaces, so the batch keeps its share of positive cases.

TRL's code is not copied. This module samples the batch first, round by round, and hands TRL the remaining rows and
texts; TRL does the rest as usual. Its log describes the remaining groups only, except that `generated_tokens` also
counts the rejected ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from eagbench_plugins.eagrl.adaptive_clipping import AdaptiveClippingTrainer

Row = Mapping[str, Any]


class DynamicSamplingTrainer(AdaptiveClippingTrainer):
    """The Stage II trainer with resampling of groups without spread.

    It adds two metrics to the log: `generated_tokens`, which includes rejected groups, and `groups_resampled`, the
    share of the batch's groups whose original case was replaced.

    Args:
        resample_rounds: Maximum number of rounds that replace groups without spread; 0 replaces none.
        reserve: Takes a batch's rows, one per group, and returns a function. Given a group's row, that function returns
            a replacement row, or None if there is none left. `reserve` must depend on the batch only, so that a
            training resumed from a checkpoint draws the same replacements.

    Raises:
        ValueError: Resampling is on and training runs in several processes, which may share a group.
    """

    def __init__(
        self,
        *args: Any,
        resample_rounds: int,
        reserve: Callable[[Sequence[Row]], Callable[[Row], Row | None]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if resample_rounds and self.accelerator.num_processes > 1:
            raise ValueError("groups without spread can only be replaced in a training of one process")
        self._resample_rounds = resample_rounds
        self._reserve = reserve
        self._written: list[list[int]] | None = None  # what TRL is to take as generated
        self._generated_tokens = 0

    def _generate_and_score_completions(self, inputs: list[Any]) -> dict[str, Any]:
        self._generated_tokens = 0
        rows, resampled = inputs, 0.0
        if self._resample_rounds:
            rows, self._written, resampled = self._sample(inputs)
        try:
            output: dict[str, Any] = super()._generate_and_score_completions(rows)
        finally:
            self._written = None
        metrics = self._metrics["train" if self.model.training else "eval"]
        tokens = torch.tensor(self._generated_tokens, device=self.accelerator.device)
        metrics["generated_tokens"].append(self.accelerator.reduce(tokens, reduction="sum").item())
        metrics["groups_resampled"].append(resampled)
        return output

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        if self._written is not None:
            return self._written, None
        result = super()._generate_single_turn(*args, **kwargs)
        self._generated_tokens += sum(len(tokens) for tokens in result[0])
        return result

    def _sample(self, inputs: Sequence[Row]) -> tuple[list[Row], list[list[int]], float]:
        """Sample a batch; return its N rows and completions after the last round, and the share of groups replaced."""
        size = self.num_generations
        groups = dict(enumerate(inputs[::size]))
        instead_of = self._reserve(list(groups.values()))
        written, flat = self._write(groups)
        resampled: set[int] = set()
        for _ in range(self._resample_rounds):
            others = {group: row for group in flat if (row := instead_of(groups[group])) is not None}
            if not others:
                break
            written_now, flat = self._write(others)
            groups |= others
            written |= written_now
            resampled |= others.keys()
        # The reward is asked again about the batch that remained, so that its parts in the log are that batch's.
        self._pending_metrics.clear()
        self._pending_extra_logs.clear()
        rows: list[Row] = [dict(row) for row in groups.values() for _ in range(size)]
        return rows, [tokens for group in groups for tokens in written[group]], len(resampled) / len(groups)

    def _write(self, groups: Mapping[int, Row]) -> tuple[dict[int, list[list[int]]], list[int]]:
        """Generate each group's completions; return them by group, and the groups whose rewards do not differ."""
        size = self.num_generations
        rows = [dict(row) for row in groups.values() for _ in range(size)]
        prompts = [row["prompt"] for row in rows]
        written: list[list[int]] = self._generate_single_turn(*self._tokenize_prompts(prompts), size)[0]
        texts = self.processing_class.batch_decode(written, skip_special_tokens=True)
        self._calculate_rewards(rows, prompts, texts, written)
        by_group = {group: written[i * size : (i + 1) * size] for i, group in enumerate(groups)}
        return by_group, [group for group, flat in zip(groups, self._without_spread().tolist(), strict=True) if flat]
