"""Stage II training with `DynamicSamplingTrainer`. Imported late, because it imports torch and TRL.

A generated batch is `cases` x `group_size` trajectories. In TRL's terms, `num_iterations` is the number of passes,
`steps_per_generation` is the number of parts of a generated batch that go through the model one after another, and
`gradient_accumulation_steps` is the number of those parts in one optimisation step.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, override

import numpy as np
import torch
from datasets import Dataset

from eagbench.api import (
    AttentionProbe,
    IntArray,
    OnSeveralDevices,
    RewardTraits,
    StageRun,
    Style,
    TokenThoughts,
    TrainableLanguageModel,
    Trajectory,
    attention_probe,
    count_tokens,
    measure_attention,
    quiet_transformers,
    refuse_long_prompts,
    traits_of,
)
from eagbench_plugins.eagrl.adaptive_clipping import LOW_CLIP
from eagbench_plugins.eagrl.checkpoints import last_complete_checkpoint
from eagbench_plugins.eagrl.curves import PART, TRUNCATED_THOUGHT, UNPARSED, summarise_curves, write_curves
from eagbench_plugins.eagrl.data_parallel import n_processes, train_on_devices
from eagbench_plugins.eagrl.dynamic_sampling import DynamicSamplingTrainer, Row
from eagbench_plugins.eagrl.feature_tokens import answer_token_mask, feature_token_mask
from eagbench_plugins.eagrl.lora import peft_config
from eagbench_plugins.eagrl.optimisation import JudgedCase, Optimisation, Reserve
from eagbench_plugins.eagrl.step_progress import StepProgress
from eagbench_plugins.eagrl.trained_policy import (
    computes_in_bfloat16,
    open_trainable,
    save_trained,
    shares_prompts,
    weights_to_train,
)
from eagbench_plugins.eagrl.training_memory import Rows, divide_step, ways_to_train
from eagbench_plugins.eagrl.training_passes import training_passes
from eagbench_plugins.eagrl.vllm_rollouts import VLLMSampler, open_sampler

quiet_transformers()

from transformers import PrinterCallback, TrainerCallback  # noqa: E402 - after transformers was quietened
from trl import GRPOConfig  # noqa: E402


def train(judged: Sequence[JudgedCase], order: IntArray, params: Optimisation, run: StageRun) -> None:
    """Train the policy of `run.inputs["policy"]`; write model, tokenizer, curves and summary into `run.out`.

    Args:
        judged: The N cases.
        order: Positions of the cases of each generated batch, (steps, cases).
        params: Training parameters.
        run: Output folder, seed and progress; training resumes from the last checkpoint in `run.checkpoints`.

    Raises:
        UserError: The policy's weights are not on this machine, or its `memory_gb` is too little for one trajectory.
    """
    opened = open_trainable(run.inputs["policy"], "policy_optimisation")
    refuse_long_prompts(opened, [case.prompt for case in judged], 1, "stage policy_optimisation")
    if isinstance(opened, OnSeveralDevices):
        train_on_devices(train, (judged, order, params), run, run.inputs["policy"], opened.devices)
        return
    # Training changes the opened model in place, so the probe looks at the policy as it is at that moment.
    probe = attention_probe(opened) if traits_of(judged[0].reward, RewardTraits).needs_attention else None
    tokenizer, thoughts = opened.tokenizer, TokenThoughts.of(opened)
    sampler = _sampler(params, run, opened)
    rows = [{"prompt": _prompt(case.prompt, tokenizer), "position": i} for i, case in enumerate(judged)]
    shares = shares_prompts(opened)
    division = divide_step(
        opened,
        ways_to_train(
            opened,
            params.lora,
            checkpointing=params.activation_checkpointing,
            packed=shares,
            reference=params.beta > 0,
        ),
        _rows(judged, opened, params, run.params["max_new_tokens"]),
        params.accumulate,
        run,
    )
    config = _config(opened, params, run, division.parts)
    # The trainer seeds torch for the whole process; TRL 1.16 asks transformers 5 by a name that it calls outdated.
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        trained = weights_to_train(opened, params.lora)
        trainer = DynamicSamplingTrainer(
            model=trained,
            args=config,
            reward_funcs=_reward_function(judged, thoughts, probe),
            train_dataset=Dataset.from_list([rows[i] for i in order.ravel().tolist()]),
            processing_class=tokenizer,
            peft_config=peft_config(params.lora),
            callbacks=[StepProgress(run, "optimise"), _Curves(run, params)],
            feature_tokens=lambda tokens: feature_token_mask(tokenizer, tokens, judged[0].style, thoughts),
            adaptive=params.adaptive_clipping,
            token_weights=_token_weights(tokenizer, judged[0].style, params.answer_weight, thoughts),
            resample_rounds=params.resample_rounds,
            reserve=_reserve(judged, rows, run.seed),
            policy=opened,
            rollouts=sampler,
            classes=2 if params.balance else 1,
        )
        trainer.remove_callback(PrinterCallback)
        models = [model for model in (trained, trainer.ref_model) if model is not None]
        with open_sampler(sampler), training_passes(models, division.recomputed, packed=shares):
            trainer.train(resume_from_checkpoint=last_complete_checkpoint(run.checkpoints))
    if not trainer.is_world_process_zero():
        return
    save_trained(trainer, tokenizer, params.lora, run)
    curves = write_curves(trainer.state.log_history, params.steps_per_batch, run.out / "curves.jsonl")
    summary = json.dumps(summarise_curves(curves), indent=1, sort_keys=True)
    (run.out / "summary.json").write_text(summary + "\n", encoding="utf-8")
    run.add_cost("generated_tokens", round(sum(line["generated_tokens"] for line in curves)))


def _rows(judged: Sequence[JudgedCase], opened: TrainableLanguageModel, params: Optimisation, new_tokens: int) -> Rows:
    """Describe the trajectories of an optimisation step at their longest."""
    count = params.cases * params.group_size // params.mini_batches
    texts = [opened.as_input(case.prompt) for case in judged]
    prompt = max(map(len, opened.tokenizer(texts)["input_ids"]))
    if shares_prompts(opened):
        return Rows(count, prompt, new_tokens, params.group_size)
    return Rows(count, 0, prompt + new_tokens)


def _config(opened: TrainableLanguageModel, params: Optimisation, run: StageRun, accumulate: int) -> Any:
    per_batch = params.steps_per_batch
    parts = params.mini_batches * accumulate
    return GRPOConfig(
        output_dir=str(run.checkpoints),
        max_steps=params.steps * per_batch,
        per_device_train_batch_size=params.cases * params.group_size // parts // n_processes(),
        steps_per_generation=parts,
        gradient_accumulation_steps=accumulate,
        num_iterations=params.passes,
        num_generations=params.group_size,
        max_completion_length=run.params["max_new_tokens"],
        temperature=params.temperature,
        beta=params.beta,
        loss_type=params.loss,
        epsilon=LOW_CLIP,
        epsilon_high=params.epsilon_high,
        scale_rewards="group" if params.standardise_advantages else "none",
        mask_truncated_completions=params.drop_truncated,
        shuffle_dataset=False,  # the order of the cases is drawn before
        learning_rate=params.learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=params.max_gradient_norm,
        activation_checkpointing=params.activation_checkpointing,
        bf16=computes_in_bfloat16(opened),
        use_cpu=torch.device(opened.model.device).type == "cpu",
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # its model goes forward several times a step, not equally often everywhere
        seed=run.seed,
        # A checkpoint lies between two generated batches: within one, its trajectories would have to be kept.
        save_steps=params.checkpoint_every * per_batch,
        save_total_limit=1,
        logging_steps=per_batch,
        disable_tqdm=True,
        report_to="none",
    )


def _sampler(params: Optimisation, run: StageRun, opened: TrainableLanguageModel) -> VLLMSampler | None:
    if params.rollouts is None or params.lora is None:
        return None
    return VLLMSampler(
        params.rollouts,
        run,
        Path(opened.model.name_or_path),
        rank=params.lora.rank,
        temperature=params.temperature,
        most=run.params["max_new_tokens"],
    )


def _prompt(prompt: str, tokenizer: Any) -> Any:
    """Convert the prompt to TRL's format: a message if there is a chat template, which TRL then applies."""
    return [{"role": "user", "content": prompt}] if tokenizer.chat_template else prompt


def _reserve(
    judged: Sequence[JudgedCase], rows: Sequence[Row], seed: int
) -> Callable[[Sequence[Row]], Callable[[Row], Row | None]]:
    """Build the function that finds replacement rows for a batch (see `DynamicSamplingTrainer`)."""
    labels = np.array([case.label for case in judged])

    def of_batch(batch: Sequence[Row]) -> Callable[[Row], Row | None]:
        reserve = Reserve(labels, [row["position"] for row in batch], seed)

        def instead_of(row: Row) -> Row | None:
            position = reserve.instead_of(row["position"])
            return None if position is None else rows[position]

        return instead_of

    return of_batch


def _token_weights(
    tokenizer: Any, style: Style, answer: float, thoughts: TokenThoughts
) -> Callable[[Sequence[int]], list[float]] | None:
    """Build the function that weights the tokens of a completion; None if all weights are equal."""
    if answer == 1:
        return None
    return lambda tokens: [answer if at else 1.0 for at in answer_token_mask(tokenizer, tokens, style, thoughts)]


def _reward_function(
    judged: Sequence[JudgedCase], thoughts: TokenThoughts, probe: AttentionProbe | None = None
) -> Callable[..., list[float]]:
    """Build the reward function that TRL calls; it also logs the reward's parts and the rate of unparsed answers.

    With a probe, it first measures the policy's attention for all completions at once, then judges them.
    """

    def reward(
        completion_ids: Sequence[Sequence[int]],
        position: Sequence[int],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        count_tokens(sum(map(len, completion_ids)))
        trajectories = []
        for tokens, i in zip(completion_ids, position, strict=True):
            trajectories.append(judged[i].read(thoughts.split(tokens)))
        if probe is not None:
            trajectories = _with_attention(trajectories, [judged[i] for i in position], probe)
        any_thinks = any(trajectory.thought or trajectory.truncated_thought for trajectory in trajectories)
        totals = []
        for trajectory, i in zip(trajectories, position, strict=True):
            parts = judged[i].judge(trajectory)
            totals.append(parts["total"])
            log_metric(UNPARSED, float(trajectory.probability is None))
            if any_thinks:
                log_metric(TRUNCATED_THOUGHT, float(trajectory.truncated_thought))
            for name in parts.keys() - {"total"}:
                log_metric(PART + name, parts[name])
        return totals

    return reward


def _with_attention(
    trajectories: Sequence[Trajectory], judged: Sequence[JudgedCase], probe: AttentionProbe
) -> list[Trajectory]:
    """Add the policy's attention during the answer to each trajectory that has an answer."""
    measured = measure_attention(
        probe,
        [case.prompt for case in judged],
        [case.feature_spans for case in judged],
        [trajectory.text for trajectory in trajectories],
        judged[0].style,
        [trajectory.thought for trajectory in trajectories],
    )
    return [replace(trajectory, attention=found) for trajectory, found in zip(trajectories, measured, strict=True)]


class _Curves(TrainerCallback):  # type: ignore[misc]
    """Keeps curves.jsonl up to date during training."""

    def __init__(self, run: StageRun, params: Optimisation) -> None:
        self._run = run
        self._steps_per_batch = params.steps_per_batch

    @override
    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            write_curves(state.log_history, self._steps_per_batch, self._run.out / "curves.jsonl")
