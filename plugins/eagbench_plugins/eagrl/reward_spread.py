"""Groups whose rewards are all equal teach nothing. Imported late, because it imports torch and TRL.

The mean of equal float32 numbers may differ from them by rounding. TRL then gives every trajectory of the group the
same small advantage, divides it by a standard deviation that is rounding as well, and AdamW, which scales every
gradient to about the learning rate, makes a full step of it.

Even a gradient of exactly 0 does not keep AdamW still: its momentum from earlier batches goes on moving the weights. So
a generated batch that holds nothing to learn from makes no optimiser step, whatever the KL penalty asks for.
"""

from __future__ import annotations

from typing import Any, override

import torch

from eagbench.api import quiet_transformers
from eagbench_plugins.eagrl.group_trainer import GroupTrainer

quiet_transformers()

from transformers import TrainerCallback  # noqa: E402 - after transformers was quietened

# Rewards of a group that span less than this differ by rounding.
NO_SPREAD = 1e-6

# Logged, as 1, for a generated batch that makes no optimiser step.
WITHOUT_STEP = "without_step"


def groups_without_spread(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
    """Find the groups whose rewards span less than `NO_SPREAD`.

    Args:
        rewards: Rewards of all trajectories, group after group, (N,).
        group_size: Trajectories per group (G).

    Returns:
        A flag per group, (N / G,).
    """
    groups = rewards.view(-1, group_size)
    return groups.amax(dim=1) - groups.amin(dim=1) < NO_SPREAD


class RewardSpreadTrainer(GroupTrainer):
    """TRL's GRPOTrainer, which learns nothing from groups whose rewards are equal.

    Such a group has advantages of exactly 0. No optimiser step follows a generated batch in which every trajectory has
    an advantage of 0 or was cut and is left out (`mask_truncated_completions`); the log then has `without_step`.
    TRL's metric `frac_reward_zero_std` becomes the share of groups without spread.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rewards: torch.Tensor | None = None  # (N,), over all processes
        self.learns_from_batch = True
        self.add_callback(_NoStepWithoutLearning(self))

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards: torch.Tensor = super()._calculate_rewards(*args, **kwargs)  # (N, reward functions)
        self._rewards = (rewards * self.reward_weights.to(rewards.device)).sum(dim=1)
        return rewards

    def _without_spread(self) -> torch.Tensor:
        """Return a flag per group of the last trajectories that were judged."""
        assert self._rewards is not None
        return groups_without_spread(self._rewards, self.num_generations)

    def _generate_and_score_completions(self, inputs: list[Any]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        flat = self._without_spread()
        advantages = output["advantages"]  # (N of this process,)
        first = self.accelerator.process_index * len(advantages)
        mine = flat.repeat_interleave(self.num_generations)[first : first + len(advantages)]
        output["advantages"] = advantages.masked_fill(mine, 0.0)
        counts = (output["advantages"] != 0) & output["completion_mask"].bool().any(dim=1)
        self.learns_from_batch = bool(self.accelerator.gather(counts).any())
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["frac_reward_zero_std"][-1] = flat.float().mean().item()
        if not self.learns_from_batch:
            metrics[WITHOUT_STEP].append(1.0)
        return output


class _NoStepWithoutLearning(TrainerCallback):  # type: ignore[misc]
    """Takes the gradients away before an optimiser step that would learn nothing.

    An optimiser of PyTorch passes over a parameter without gradient: neither weights, momentum nor step count change.
    """

    def __init__(self, trainer: RewardSpreadTrainer) -> None:
        self._trainer = trainer

    @override
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._trainer.learns_from_batch:
            self._trainer.model.zero_grad(set_to_none=True)
