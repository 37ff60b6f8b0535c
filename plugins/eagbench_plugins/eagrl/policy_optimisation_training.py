"""The training of Stage II with `AdaptiveClippingTrainer`; imported late, for it imports torch and TRL.

A generated batch is `cases` x `group_size` trajectories. TRL's terms: `num_iterations` are the passes,
`steps_per_generation` the parts of a generated batch that go through the model one after another, and
`gradient_accumulation_steps` those of them that make one optimisation step.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, override

import torch
from datasets import Dataset

from eagbench.api import IntArray, StageRun, Style, TrainableLanguageModel, UserError, open_policy, quiet_transformers
from eagbench_plugins.eagrl.adaptive_clipping import LOW_CLIP, AdaptiveClippingTrainer
from eagbench_plugins.eagrl.feature_tokens import answer_token_mask, feature_token_mask
from eagbench_plugins.eagrl.lora import peft_config
from eagbench_plugins.eagrl.policy_optimisation import JudgedCase, Optimisation
from eagbench_plugins.eagrl.step_progress import StepProgress

quiet_transformers()

from transformers import PrinterCallback, TrainerCallback  # noqa: E402 - after transformers was quietened
from transformers.trainer_utils import get_last_checkpoint  # noqa: E402
from trl import GRPOConfig  # noqa: E402

# Name in curves.jsonl: name in the trainer's log. The reward's parts and the rate of unparsed answers join them.
_CURVES = {
    "loss": "loss",
    "gradient_norm": "grad_norm",
    "reward": "reward",
    "reward_std": "reward_std",
    "groups_without_spread": "frac_reward_zero_std",
    "entropy": "entropy",
    "kl": "kl",
    "length": "completions/mean_length",
    "truncated_rate": "completions/clipped_ratio",
    "upper_bound": "clip/upper_bound",
    "clip_above_fixed": "clip/above_fixed",
    "clip_freed": "clip/freed",
    "clip_high": "clip_ratio/high_mean",
    "clip_low": "clip_ratio/low_mean",
}
_PART = "part/"
_UNPARSED = "unparsed_rate"


def train(judged: Sequence[JudgedCase], order: IntArray, params: Optimisation, run: StageRun) -> None:
    """Trains the policy of `run.inputs["policy"]`; writes model, tokenizer and `curves.jsonl` into `run.out`.

    Args:
        judged: The cases, N of them.
        order: Positions of the cases of each generated batch, (steps, cases).
        params: How to train.
        run: Folder, seed, progress; goes on from the last checkpoint in `run.checkpoints`.

    Raises:
        UserError: The policy's weights are not here.
    """
    opened = open_policy(run.inputs["policy"])
    if not isinstance(opened, TrainableLanguageModel):
        raise UserError(
            "this policy can't be trained: its weights are not on this machine",
            where="stage policy_optimisation",
            mend="use the policy `tiny` or `hf`",
        )
    tokenizer = opened.tokenizer
    rows = [{"prompt": _prompt(judged[i].prompt, tokenizer), "position": i} for i in order.ravel().tolist()]
    # The trainer seeds torch for the whole process; TRL 1.16 asks transformers 5 by a name that it calls outdated.
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        trainer = AdaptiveClippingTrainer(
            # Half precision is too coarse for the small steps of full fine-tuning; see `sft_training`.
            model=opened.model if params.lora else opened.model.float(),
            args=_config(params, run, on_cpu=torch.device(opened.model.device).type == "cpu"),
            reward_funcs=_reward_function(judged, tokenizer),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=peft_config(params.lora),
            callbacks=[StepProgress(run, "optimise"), _Curves(run, params)],
            feature_tokens=lambda tokens: feature_token_mask(tokenizer, tokens, judged[0].style),
            adaptive=params.adaptive_clipping,
            token_weights=_token_weights(tokenizer, judged[0].style, params.answer_weight),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(run.checkpoints)))
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if params.lora:
        trained = trained.merge_and_unload()
    trained.save_pretrained(run.out)
    tokenizer.save_pretrained(run.out)
    curves = write_curves(trainer.state.log_history, params, run.out / "curves.jsonl")
    run.add_cost("generated_tokens", round(sum(line["length"] for line in curves) * params.cases * params.group_size))


def _config(params: Optimisation, run: StageRun, *, on_cpu: bool) -> Any:
    per_batch = params.passes * params.mini_batches
    parts = params.mini_batches * params.accumulate
    return GRPOConfig(
        output_dir=str(run.checkpoints),
        max_steps=params.steps * per_batch,
        per_device_train_batch_size=params.cases * params.group_size // parts,
        steps_per_generation=parts,
        gradient_accumulation_steps=params.accumulate,
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
        bf16=not on_cpu,
        use_cpu=on_cpu,
        seed=run.seed,
        # A checkpoint lies between two generated batches: within one, its trajectories would have to be kept.
        save_steps=params.checkpoint_every * per_batch,
        save_total_limit=1,
        logging_steps=per_batch,
        disable_tqdm=True,
        report_to="none",
    )


def _prompt(prompt: str, tokenizer: Any) -> Any:
    """The prompt as TRL takes it: as a message if there is a chat template, which TRL then applies."""
    return [{"role": "user", "content": prompt}] if tokenizer.chat_template else prompt


def _token_weights(tokenizer: Any, style: Style, answer: float) -> Callable[[Sequence[int]], list[float]] | None:
    """The weight of each token of a completion, None where all weigh alike."""
    if answer == 1:
        return None
    return lambda tokens: [answer if at else 1.0 for at in answer_token_mask(tokenizer, tokens, style)]


def _reward_function(judged: Sequence[JudgedCase], tokenizer: Any) -> Callable[..., list[float]]:
    """The reward as TRL calls it; it also logs the parts, and how many answers could not be read."""

    def reward(
        completion_ids: Sequence[Sequence[int]],
        position: Sequence[int],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        totals = []
        for tokens, i in zip(completion_ids, position, strict=True):
            text = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            parts, trajectory = judged[i].judge(text, len(tokens))
            totals.append(parts["total"])
            log_metric(_UNPARSED, float(trajectory.probability is None))
            for name in parts.keys() - {"total"}:
                log_metric(_PART + name, parts[name])
        return totals

    return reward


def write_curves(log: Sequence[Mapping[str, Any]], params: Optimisation, path: Path) -> list[dict[str, Any]]:
    """Writes and returns one line per generated batch.

    Args:
        log: The trainer's log history.
        params: How it trains.
        path: The file.
    """
    lines = []
    for entry in log:
        if "reward" not in entry:
            continue
        line = {name: entry[key] for name, key in _CURVES.items() if key in entry}
        line |= {f"reward_{name.removeprefix(_PART)}": entry[name] for name in entry if name.startswith(_PART)}
        line[_UNPARSED] = entry[_UNPARSED]
        lines.append({"step": entry["step"] // (params.passes * params.mini_batches), **line})
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines), encoding="utf-8")
    partial.replace(path)
    return lines


class _Curves(TrainerCallback):  # type: ignore[misc]
    """Keeps curves.jsonl up to date while training goes on."""

    def __init__(self, run: StageRun, params: Optimisation) -> None:
        self._run = run
        self._params = params

    @override
    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        write_curves(state.log_history, self._params, self._run.out / "curves.jsonl")
