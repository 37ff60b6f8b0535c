"""Entropy-aware adaptive up-clipping, Stage II of EAG-RL (Fang et al., arXiv 2508.13579), on TRL's GRPOTrainer.

    J = E[ min( r_t A, clip(r_t, 1 - eps_low, 1 + eps(tau)) A ) ],   eps_low = 0.2,   eps(tau) in [0.2, 0.4]

r_t is the ratio of the token's probability under the policy and under the policy that sampled it, A the trajectory's
advantage, and eps(tau) grows with the mean predictive entropy over the tokens of the important features in tau: an
uncertain, informative trajectory may move further, which works against a collapse of the entropy.

Departures from the paper, where it is silent:
1. The map is linear from the smallest to the largest mean entropy of the generation batch (over all processes), not of
   the micro-batch. A trajectory without feature tokens, or a batch without spread, gets 0.2.
2. Entropies are those of the sampling policy at the sampling temperature, computed once per generated batch, without
   gradient.
3. Tokens of the important features are those of the listed names; separators between them do not count.
4. At least two optimisation steps follow each generated batch: in the first one r_t is 1 and no clip can act.
5. Tokens may be given weights, which multiply their advantages (`token_weights`): the answer is one token in forty, and
   with equal weights, as in the paper, the reward hardly reaches it in a small policy.

TRL's loss is not copied. TRL 1.16 reads `self.epsilon_low` and `self.epsilon_high` within `_compute_loss` and clamps
with both, so a bound per trajectory is a tensor of shape (B, 1) in both places for the time of the call. Other versions
of TRL are refused (`policy_optimisation.TRL_VERSIONS`); this module's tests say whether a newer one will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from eagbench_plugins.eagrl.length_grouping import LengthGroupedTrainer

LOW_CLIP = 0.2
LOWEST_UP_CLIP, HIGHEST_UP_CLIP = 0.2, 0.4

# Entropies that differ by less than this (in nats) differ by rounding.
_NO_SPREAD = 1e-5


def adaptive_upper_bounds(
    mean_entropy: torch.Tensor, lowest: float = LOWEST_UP_CLIP, highest: float = HIGHEST_UP_CLIP
) -> torch.Tensor:
    """eps(tau) of each trajectory of a generation batch.

    Args:
        mean_entropy: Mean entropy over the feature tokens in nats, (N,); NaN for a trajectory without such tokens.
        lowest: Bound of the lowest entropy, of trajectories without feature tokens, and of a batch without spread.
        highest: Bound of the highest entropy.

    Returns:
        (N,), within [lowest, highest].
    """
    bounds = torch.full_like(mean_entropy, lowest)
    known = ~mean_entropy.isnan()
    if not known.any():
        return bounds
    smallest, largest = mean_entropy[known].min(), mean_entropy[known].max()
    if largest - smallest < _NO_SPREAD:
        return bounds
    share = (mean_entropy[known] - smallest) / (largest - smallest)
    bounds[known] = (lowest + (highest - lowest) * share).clamp(lowest, highest)
    return bounds


def _per_token(
    of_tokens: Callable[[Sequence[int]], Sequence[float]], batch: dict[str, Any], dtype: torch.dtype
) -> torch.Tensor:
    """A value per token of each completion, (N, C); 0 in the padding."""
    mask = batch["completion_mask"]  # (N, C)
    values = torch.zeros(mask.shape, dtype=dtype)
    lengths = mask.sum(dim=1).tolist()
    for row, (tokens, length) in enumerate(zip(batch["completion_ids"].tolist(), lengths, strict=True)):
        values[row, :length] = torch.tensor(of_tokens(tokens[:length]), dtype=dtype)
    return values.to(mask.device)


class AdaptiveClippingTrainer(LengthGroupedTrainer):
    """TRL's GRPOTrainer with an upper clip bound per trajectory, and with the clip's effect in the log.

    Two shares of the completions' tokens join TRL's metrics, both over all optimisation steps of a generated batch:
    `clip/above_fixed`, with positive advantage and a ratio above 1 + 0.2, and `clip/freed`, those of them whose ratio
    is at most 1 + eps(tau): the fixed bound would take their gradient, the adaptive one leaves it.

    Args:
        feature_tokens: For a completion's tokens, which of them name important features.
        adaptive: Whether the bound depends on the entropy; if not, the loss is TRL's own, with the `epsilon` and
            `epsilon_high` of its configuration.
        token_weights: For a completion's tokens, their weights; they are divided by their mean. None weighs all alike.

    Raises:
        ValueError: The bound is adaptive and a single optimisation step follows each generated batch.
    """

    def __init__(
        self,
        *args: Any,
        feature_tokens: Callable[[Sequence[int]], Sequence[bool]],
        adaptive: bool,
        token_weights: Callable[[Sequence[int]], Sequence[float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        per_batch = self.args.steps_per_generation * self.num_iterations / self.args.gradient_accumulation_steps
        if adaptive and per_batch < 2:
            raise ValueError("with one optimisation step per generated batch the ratio is 1 and no clip can act")
        self._feature_tokens = feature_tokens
        self._token_weights = token_weights
        self._adaptive = adaptive
        self.epsilon_low: float | torch.Tensor
        self.epsilon_high: float | torch.Tensor
        self._first_pass: tuple[torch.Tensor, torch.Tensor] | None = None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._first_pass = None
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self._adaptive:
            # TRL scores the completions by the policy that wrote them before it asks the reference.
            assert self._first_pass is not None
            entropies = self._first_pass[1]
            output["upper_bound"] = self._upper_bounds(output, entropies)  # (N, 1), shuffled and split with the rest
        if self._token_weights is not None:
            weights = _per_token(self._token_weights, output, output["advantages"].dtype)  # (N, C)
            mean = weights.sum(dim=1) / output["completion_mask"].sum(dim=1).clamp(min=1)  # (N,)
            # TRL takes an advantage per token as well.
            output["advantages"] = (output["advantages"] / mean.clamp(min=1e-6)).unsqueeze(1) * weights
        return output

    def _upper_bounds(self, batch: dict[str, Any], entropies: torch.Tensor) -> torch.Tensor:
        """eps(tau) of this process's completions, (N, 1), on the scale of all processes' completions.

        Args:
            batch: `completion_ids` and `completion_mask`, both (N, C).
            entropies: Entropy of the sampling policy before each token, (N, C).
        """
        features = _per_token(self._feature_tokens, batch, entropies.dtype)  # (N, C)
        mean_entropy = (entropies * features).sum(dim=1) / features.sum(dim=1)  # (N,), 0 / 0 = NaN
        of_all = adaptive_upper_bounds(self.accelerator.gather(mean_entropy))
        self._metrics["train" if self.model.training else "eval"]["clip/upper_bound"].append(of_all.mean().item())
        first = self.accelerator.process_index * len(mean_entropy)
        return of_all[first : first + len(mean_entropy)].unsqueeze(1)

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        if self._first_pass is not None:
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)
        # TRL's policy computes the entropies with the log-probabilities in any case; asking for them costs nothing.
        result: Any = super()._get_per_token_logps_and_entropies(*args, **{**kwargs, "compute_entropy": True})
        self._first_pass = (result[0].detach(), result[1].detach())
        return result

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        bounds = inputs.get("upper_bound")  # (B, 1)
        fixed = self.epsilon_low, self.epsilon_high
        if bounds is not None:
            self.epsilon_low, self.epsilon_high = torch.full_like(bounds, fixed[0]), bounds
        self._first_pass = None
        try:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
            self._log_clipping(inputs)
        finally:
            self.epsilon_low, self.epsilon_high = fixed
        return loss

    def _log_clipping(self, inputs: dict[str, Any]) -> None:
        """Notes the shares of tokens on which the bounds act, for the loss just computed."""
        assert self._first_pass is not None
        log_p = self._first_pass[0]  # (B, C); TRL's loss keeps its ratios to itself
        ratio = (log_p - inputs.get("old_per_token_logps", log_p)).exp()
        advantages = inputs["advantages"]
        positive = (advantages > 0) if advantages.dim() == 2 else (advantages > 0).unsqueeze(1)
        above = (ratio > 1 + LOWEST_UP_CLIP) & positive
        freed = above & (ratio <= 1 + self.epsilon_high)
        mask = inputs["completion_mask"]
        counts = torch.stack([(above * mask).sum(), (freed * mask).sum(), mask.sum()]).float()
        n_above, n_freed, n_tokens = self.accelerator.reduce(counts, reduction="sum").tolist()
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["clip/above_fixed"].append(n_above / max(n_tokens, 1.0))
        metrics["clip/freed"].append(n_freed / max(n_tokens, 1.0))
