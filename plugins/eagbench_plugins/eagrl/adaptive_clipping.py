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

TRL's loss is not copied. TRL 1.16 reads `self.epsilon_low` and `self.epsilon_high` within `_compute_loss` and clamps
with both, so a bound per trajectory is a tensor of shape (B, 1) in both places for the time of the call. Other versions
of TRL are refused (`policy_optimisation.TRL_VERSIONS`); this module's tests say whether a newer one will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from eagbench.api import quiet_transformers

quiet_transformers()

from trl import GRPOTrainer  # noqa: E402 - after transformers was quietened

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


class AdaptiveClippingTrainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPOTrainer with an upper clip bound per trajectory, and with the clip's effect in the log.

    Two shares of the completions' tokens join TRL's metrics, both over all optimisation steps of a generated batch:
    `clip/above_fixed`, with positive advantage and a ratio above 1 + 0.2, and `clip/freed`, those of them whose ratio
    is at most 1 + eps(tau): the fixed bound would take their gradient, the adaptive one leaves it.

    Args:
        feature_tokens: For a completion's tokens, which of them name important features.
        adaptive: Whether the bound depends on the entropy; if not, the loss is TRL's own, with the `epsilon` and
            `epsilon_high` of its configuration.

    Raises:
        ValueError: The bound is adaptive and a single optimisation step follows each generated batch.
    """

    def __init__(
        self, *args: Any, feature_tokens: Callable[[Sequence[int]], Sequence[bool]], adaptive: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        per_batch = self.args.steps_per_generation * self.num_iterations / self.args.gradient_accumulation_steps
        if adaptive and per_batch < 2:
            raise ValueError("with one optimisation step per generated batch the ratio is 1 and no clip can act")
        self._feature_tokens = feature_tokens
        self._adaptive = adaptive
        self._log_probabilities = torch.empty(0)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self._adaptive:
            output["upper_bound"] = self._upper_bounds(output)  # (N, 1), shuffled and split with the rest
        return output

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _upper_bounds(self, batch: dict[str, Any]) -> torch.Tensor:
        """eps(tau) of this process's completions, (N, 1), on the scale of all processes' completions."""
        completions, mask = batch["completion_ids"], batch["completion_mask"]  # (N, C), (N, C)
        _, entropies, _ = self._get_per_token_logps_and_entropies(
            self.model,
            torch.cat([batch["prompt_ids"], completions], dim=1),
            torch.cat([batch["prompt_mask"], mask], dim=1),
            completions.size(1),
            batch_size=self.args.per_device_train_batch_size,
            compute_entropy=True,
        )  # (N, C)
        features = torch.zeros_like(entropies)
        for row, (tokens, length) in enumerate(zip(completions.tolist(), mask.sum(dim=1).tolist(), strict=True)):
            features[row, :length] = torch.tensor(self._feature_tokens(tokens[:length]), dtype=features.dtype)
        mean_entropy = (entropies * features).sum(dim=1) / features.sum(dim=1)  # (N,), 0 / 0 = NaN
        of_all = adaptive_upper_bounds(self.accelerator.gather(mean_entropy))
        first = self.accelerator.process_index * len(mean_entropy)
        bounds = of_all[first : first + len(mean_entropy)]
        self._metrics["train" if self.model.training else "eval"]["clip/upper_bound"].append(of_all.mean().item())
        return bounds.unsqueeze(1)

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        # TRL's loss keeps the ratios to itself; from these they are known.
        self._log_probabilities = result[0].detach()
        return result

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        bounds = inputs.get("upper_bound")  # (B, 1)
        fixed = self.epsilon_low, self.epsilon_high
        if bounds is not None:
            self.epsilon_low, self.epsilon_high = torch.full_like(bounds, self.epsilon_low), bounds
        try:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
            self._log_clipping(inputs)
        finally:
            self.epsilon_low, self.epsilon_high = fixed
        return loss

    def _log_clipping(self, inputs: dict[str, Any]) -> None:
        """Notes the shares of tokens on which the bounds act; of the loss just computed."""
        old = inputs.get("old_per_token_logps")
        ratio = (self._log_probabilities - (self._log_probabilities if old is None else old)).exp()  # (B, C)
        above = (ratio > 1 + LOWEST_UP_CLIP) & (inputs["advantages"] > 0).unsqueeze(1)
        mask = inputs["completion_mask"]
        freed = above & (ratio <= 1 + self.epsilon_high)
        counts = torch.stack([(above * mask).sum(), (freed * mask).sum(), mask.sum()]).float()
        n_above, n_freed, n_tokens = self.accelerator.reduce(counts, reduction="sum").tolist()
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["clip/above_fixed"].append(n_above / max(n_tokens, 1.0))
        metrics["clip/freed"].append(n_freed / max(n_tokens, 1.0))
