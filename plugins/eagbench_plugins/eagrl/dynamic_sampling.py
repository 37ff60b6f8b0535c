"""Dynamic sampling (DAPO; Yu et al., arXiv 2503.14476, section 3.2): groups without spread give way to other cases.

Where all rewards of a group are equal, all its advantages are 0 and its trajectories teach nothing. DAPO samples other
prompts until the batch is full of groups whose rewards differ.

Departures from DAPO:
1. The rounds are bounded. What still has no spread after them stays in the batch.
2. The case that takes a place is of the same class as the one that held it, so that the batch keeps its share of
   positive cases.

TRL's code is not copied: the batch is sampled here first, round by round, and TRL is then given the rows and the texts
that remained and does everything else as ever. Its log is about those; `generated_tokens` counts the rest as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eagbench_plugins.eagrl.adaptive_clipping import AdaptiveClippingTrainer

Row = Mapping[str, Any]

# Rewards whose standard deviation is below this differ by rounding.
_NO_SPREAD = 1e-6


class DynamicSamplingTrainer(AdaptiveClippingTrainer):
    """The trainer of Stage II with resampling of groups without spread, and with the tokens it wrote in the log.

    Two metrics join the log: `generated_tokens`, of rejected groups as well, and `groups_resampled`, the share of the
    batch's groups whose first case was replaced.

    Args:
        resample_rounds: How often groups without spread are replaced, at most; with 0 no group is.
        reserve: For a batch's rows, one per group, the rows that may take their places: asked with the row of a group,
            it returns another row, or None if there is none left. It must be a function of the batch, so that a
            training that goes on from a checkpoint takes the same.

    Raises:
        ValueError: Groups are to be replaced in a training of several processes, which may share a group.
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
        metrics["generated_tokens"].append(self._generated_tokens)
        metrics["groups_resampled"].append(resampled)
        return output

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        if self._written is not None:
            return self._written, None
        result = super()._generate_single_turn(*args, **kwargs)
        self._generated_tokens += sum(len(tokens) for tokens in result[0])
        return result

    def _sample(self, inputs: Sequence[Row]) -> tuple[list[Row], list[list[int]], float]:
        """Rows and completions of a batch, N of each, after the last round; and the share of groups replaced."""
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
        """The completions of each group, and the groups whose rewards do not differ."""
        size = self.num_generations
        rows = [dict(row) for row in groups.values() for _ in range(size)]
        prompts = [row["prompt"] for row in rows]
        written: list[list[int]] = self._generate_single_turn(*self._tokenize_prompts(prompts), size)[0]
        texts = self.processing_class.batch_decode(written, skip_special_tokens=True)
        rewards = self._calculate_rewards(rows, prompts, texts, written)  # (N, reward functions)
        spread = (rewards * self.reward_weights.to(rewards.device)).nansum(dim=1).view(-1, size).std(dim=1)
        by_group = {group: written[i * size : (i + 1) * size] for i, group in enumerate(groups)}
        return by_group, [
            group for group, deviation in zip(groups, spread.tolist(), strict=True) if deviation < _NO_SPREAD
        ]
