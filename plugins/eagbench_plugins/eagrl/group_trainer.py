"""Stage II that reads each group's prompt once, to sample and to train. Imported late: it imports torch and TRL.

TRL reads the prompt of a group once per trajectory: to sample it, to score it, and in every pass, forward and backward.
A record is several times as long as what is written about it, so that is most of the work. Here a group is sampled in
one tree (`SharesPrompts.continue_tokens`) and trained on as one packed row (`shared_prompts`).

Departures from TRL, numbered:
1. A generated batch is shuffled group by group, not trajectory by trajectory, so that a mini-batch holds whole groups
   where its size allows. Where half of the batch's cases are positive, so are half of each mini-batch's.
2. The draws of the trajectories come from torch's generator on the CPU, one number per trajectory and token, and no
   dropout acts while they are written.
3. Where the model drops out activations in training (LoRA's dropout), a group shares the prompt's mask.

TRL's other ways to sample share less: continuous batching (`generate_batch` of transformers) shares whole pages only
and has one seed for all requests. Models that can't share prompts are sampled and trained as TRL does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, override

import torch
from torch import Tensor
from trl.trainer import grpo_trainer

from eagbench.api import Sampling
from eagbench_plugins.eagrl.divided_batches import own_rows, shared, shared_draws, whole_batch
from eagbench_plugins.eagrl.length_grouping import LengthGroupedTrainer
from eagbench_plugins.eagrl.scored_positions import only_scored_positions
from eagbench_plugins.eagrl.shared_prompts import Packed, groups_by_prompt, pack, unpacked
from eagbench_plugins.eagrl.trained_policy import shares_prompts
from eagbench_plugins.eagrl.vllm_rollouts import VLLMSampler

# Places, padding included, that go through the model together: enough to keep the processor busy.
_PLACES = 4096


class GroupTrainer(LengthGroupedTrainer):
    """TRL's GRPOTrainer for text-only models, with each group's prompt read once.

    Args:
        policy: The opened policy whose weights are trained; None for one that can't share prompts.
        rollouts: A server that writes the trajectories; None writes them here.
        classes: Into how many consecutive parts, of one class each, the groups of a generated batch fall.
    """

    def __init__(
        self, *args: Any, policy: object = None, rollouts: VLLMSampler | None = None, classes: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._policy = policy if shares_prompts(policy) else None
        self._rollouts, self._classes = rollouts, classes

    @override
    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        if self._rollouts is not None:
            adapters = self.accelerator.unwrap_model(self.model)
            ends = frozenset(self.eos_token_ids)
            return self._rollouts.write(adapters, prompt_ids, ends, self.state.global_step), None
        if self._policy is None:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        most = self.max_completion_length
        draws = shared_draws(self.accelerator, len(prompt_ids), most).numpy()  # (N, most)
        with self.accelerator.autocast():
            written = self._policy.continue_tokens(
                prompt_ids, Sampling(most, self.temperature), draws, frozenset(self.eos_token_ids)
            )
        return written, None

    @override
    def _prepare_inputs(self, generation_batch: Any) -> Any:
        with _shuffled_by(self.num_generations, self._classes, self.accelerator, self.args.steps_per_generation):
            return super()._prepare_inputs(generation_batch)

    @override
    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Score the completions in packs; arguments and results are those of `LengthGroupedTrainer`."""
        if self._policy is None or kwargs.get("compute_aux_loss"):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, **kwargs
            )
        prompt = input_ids.size(1) - logits_to_keep
        groups = groups_by_prompt(input_ids[:, :prompt], attention_mask[:, :prompt])
        log_p = entropies = input_ids.new_zeros(len(input_ids), logits_to_keep, dtype=torch.float32)
        for part in _parts(groups, attention_mask, prompt):
            packed = pack(part, input_ids, attention_mask, logits_to_keep, self._tokenizer.pad_token_id)
            outputs = self._scored(model, packed)
            log_p = log_p + unpacked(outputs.log_probs, packed, len(input_ids), logits_to_keep)
            if kwargs.get("compute_entropy"):
                entropies = entropies + unpacked(outputs.entropy, packed, len(input_ids), logits_to_keep)
        return log_p, entropies if kwargs.get("compute_entropy") else None, None

    def _scored(self, model: Any, packed: Packed) -> Any:
        with only_scored_positions(), self.accelerator.autocast():
            return model(
                input_ids=packed.input_ids,
                position_ids=packed.position_ids,
                attention_mask=packed.mask,
                labels=packed.labels,
                use_cache=False,
                fused_lm_head=True,
            )


def _parts(groups: list[list[int]], mask: Tensor, prompt: int) -> Iterator[list[list[int]]]:
    """Yield groups of similar packed length that go through the model together."""
    written = mask[:, prompt:].sum(dim=1).tolist()
    read = mask[:, :prompt].sum(dim=1).tolist()
    size = [read[group[0]] + sum(written[i] + 1 for i in group) for group in groups]
    part: list[list[int]] = []
    for at in sorted(range(len(groups)), key=lambda i: (size[i], i)):
        if part and (len(part) + 1) * size[at] > _PLACES:
            yield part
            part = []
        part.append(groups[at])
    yield part


@contextmanager
def _shuffled_by(group_size: int, classes: int, accelerator: Any, parts: int) -> Iterator[None]:
    """Make TRL shuffle a generated batch by whole groups and spread its classes evenly, within the context.

    Each process keeps its share of each part that goes through the model at once.
    """

    def shuffled(batch: dict[str, Any]) -> dict[str, Any]:
        batch = whole_batch(accelerator, batch)
        groups = torch.arange(len(batch["completion_ids"])).split(group_size)
        order = shared(accelerator, torch.cat([groups[i] for i in _spread(len(groups), classes)]))  # (N,)
        order = own_rows(accelerator, order, parts)

        def moved(value: Any) -> Any:
            if isinstance(value, Tensor):
                return (value if value.ndim == 0 else value[order.to(value.device)]).to(accelerator.device)
            return None if value is None else [value[i] for i in order.tolist()]

        return {name: moved(value) for name, value in batch.items()}

    before = grpo_trainer.shuffle_sequence_dict
    grpo_trainer.shuffle_sequence_dict = shuffled
    try:
        yield
    finally:
        grpo_trainer.shuffle_sequence_dict = before


def _spread(n: int, classes: int) -> list[int]:
    """Shuffle the numbers below n so that each of its consecutive parts is spread over the whole order."""
    place = []
    for part in torch.arange(n).tensor_split([n * k // classes for k in range(1, classes)]):
        shuffled = part[torch.randperm(len(part))].tolist()
        place += [((rank + 0.5) / len(part), number) for rank, number in enumerate(shuffled)]
    return [number for _, number in sorted(place)]
