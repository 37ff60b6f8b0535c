"""Entropy-aware adaptive up-clipping, Stage II of EAG-RL (Fang et al., arXiv 2508.13579), on TRL's GRPOTrainer.

    J = E[ min( r_t A, clip(r_t, 1 - eps_low, 1 + eps(tau)) A ) ],   eps_low = 0.2,   eps(tau) in [0.2, 0.4]

r_t is the token's probability under the current policy divided by its probability under the policy that sampled it.
A is the trajectory's advantage. eps(tau) grows with the mean predictive entropy over the tokens of the important
features in tau, so an uncertain, informative trajectory may move further. This counteracts entropy collapse.

Our choices where the paper gives no detail:
1. The map is linear from the smallest to the largest mean entropy of the generation batch (over all processes), not of
   the micro-batch. A trajectory without feature tokens gets 0.2, and so do all trajectories of a batch without spread.
2. Entropies are those of the sampling policy at the sampling temperature, computed once per generated batch, without
   gradient.
3. Tokens of the important features are those of the listed names; separators between them do not count.
4. At least two optimisation steps follow each generated batch, because in the first one r_t is 1 and no clip can act.
5. Optional token weights multiply the advantages (`token_weights`). The answer is one token in forty; with equal
   weights, as in the paper, the reward hardly reaches it in a small policy.

TRL's loss is reused, not copied. TRL 1.16 reads `self.epsilon_low` and `self.epsilon_high` within `_compute_loss` and
clamps with both. For a bound per trajectory, both attributes hold a tensor of shape (B, 1) during the call. Other
versions of TRL are refused (`policy_optimisation.TRL_VERSIONS`); run this module's tests to check a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from eagbench_plugins.eagrl.reward_spread import RewardSpreadTrainer

LOW_CLIP = 0.2
LOWEST_UP_CLIP, HIGHEST_UP_CLIP = 0.2, 0.4

# Entropies that differ by less than this (in nats) differ by rounding.
_NO_SPREAD = 1e-5


def adaptive_upper_bounds(
    mean_entropy: torch.Tensor, lowest: float = LOWEST_UP_CLIP, highest: float = HIGHEST_UP_CLIP
) -> torch.Tensor:
    """Compute eps(tau) for each trajectory of a generation batch.

    Args:
        mean_entropy: Mean entropy over the feature tokens in nats, (N,); NaN for a trajectory without such tokens.
        lowest: Bound for the lowest entropy, for trajectories without feature tokens, and for a batch without spread.
        highest: Bound for the highest entropy.

    Returns:
        Shape (N,), within [lowest, highest].
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
    """Return one value per token of each completion, shape (N, C), with 0 in the padding."""
    mask = batch["completion_mask"]  # (N, C)
    values = torch.zeros(mask.shape, dtype=dtype)
    lengths = mask.sum(dim=1).tolist()
    for row, (tokens, length) in enumerate(zip(batch["completion_ids"].tolist(), lengths, strict=True)):
        values[row, :length] = torch.tensor(of_tokens(tokens[:length]), dtype=dtype)
    return values.to(mask.device)


class AdaptiveClippingTrainer(RewardSpreadTrainer):
    """TRL's GRPOTrainer with one upper clip bound per trajectory; it also logs the effect of clipping.

    It adds two metrics to TRL's log. Both are shares of the completions' tokens over all optimisation steps of a
    generated batch. `clip/above_fixed` counts tokens with positive advantage and a ratio above 1 + 0.2. `clip/freed`
    counts those of them whose ratio is at most 1 + eps(tau): the fixed bound would remove their gradient, and the
    adaptive bound keeps it.

    Args:
        feature_tokens: Maps a completion's tokens to flags: which of them name important features.
        adaptive: Whether the bound depends on the entropy. If not, the loss is TRL's own, with the `epsilon` and
            `epsilon_high` of its configuration.
        token_weights: Maps a completion's tokens to weights, which are then divided by their mean. None gives all
            tokens the same weight.

    Raises:
        ValueError: The bound is adaptive and only one optimisation step follows each generated batch.
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
        """Compute eps(tau) for this process's completions, shape (N, 1).

        The scale runs from the smallest to the largest mean entropy of all processes' completions.

        Args:
            batch: `completion_ids` and `completion_mask`, both (N, C).
            entropies: Entropy of the sampling policy's prediction of each token, (N, C).
        """
        features = _per_token(self._feature_tokens, batch, entropies.dtype)  # (N, C)
        mean_entropy = (entropies * features).sum(dim=1) / features.sum(dim=1)  # (N,), 0 / 0 = NaN
        of_all = adaptive_upper_bounds(self.accelerator.gather(mean_entropy))
        self._metrics["train" if self.model.training else "eval"]["clip/upper_bound"].append(of_all.mean().item())
        first = self.accelerator.process_index * len(mean_entropy)
        return of_all[first : first + len(mean_entropy)].unsqueeze(1)

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        if self._first_pass is not None or args[0] is self.ref_model:  # which TRL gives no entropies
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
        """Log the shares of tokens on which the bounds act, for the loss just computed."""
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
