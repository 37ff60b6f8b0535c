"""The adaptive bound by hand, the trainer against TRL's own loss, and a fixed batch whose loss is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from eagbench.api import STYLES, quiet_transformers
from eagbench_plugins.eagrl.adaptive_clipping import AdaptiveClippingTrainer, adaptive_upper_bounds
from eagbench_plugins.eagrl.feature_tokens import feature_token_mask
from eagbench_plugins.policies.tiny.tokenizer import train_tokenizer

STYLE = STYLES["question_decomposition"]
ANSWER = (
    "<Subquestion> is it high?<Answer> it is<Final subquestion> will it end?"
    "<Important Features> heart_rate, lactate<Final answer>0.35</Final answer>"
)
PROMPTS = [f"heart_rate=q{i} lactate=q{9 - i}\n" for i in range(4)]


# The map from entropy to bound


def test_bounds_of_a_small_batch_by_hand() -> None:
    entropy = torch.tensor([1.0, 3.0, 1.5, float("nan"), 2.0])
    expected = torch.tensor([0.2, 0.4, 0.25, 0.2, 0.3])
    torch.testing.assert_close(adaptive_upper_bounds(entropy), expected)


@pytest.mark.parametrize(
    "entropy", [[], [2.0], [2.0, 2.0, 2.0], [float("nan")] * 2, [float("nan"), 1.0], [1.0, 1.0 + 1e-7]]
)
def test_without_spread_every_bound_is_the_lowest(entropy: list[float]) -> None:
    assert adaptive_upper_bounds(torch.tensor(entropy, dtype=torch.float64)).tolist() == [0.2] * len(entropy)


ENTROPIES = npst.arrays(np.float64, st.integers(2, 20), elements=st.floats(0, 12, width=32) | st.just(float("nan")))


@given(ENTROPIES)
def test_bounds_lie_in_the_range_and_keep_the_order(entropy: np.ndarray[Any, Any]) -> None:
    bounds = adaptive_upper_bounds(torch.from_numpy(entropy)).numpy()
    assert ((bounds >= 0.2) & (bounds <= 0.4)).all()
    assert (bounds[np.isnan(entropy)] == 0.2).all()
    known = ~np.isnan(entropy)
    order = np.argsort(entropy[known])
    assert (np.diff(bounds[known][order]) >= 0).all()
    if known.any() and np.ptp(entropy[known]) > 1e-3:
        assert bounds[known][order][0] == pytest.approx(0.2)
        assert bounds[known][order][-1] == pytest.approx(0.4)


@given(ENTROPIES, st.floats(0.5, 4), st.floats(0, 5))
def test_bounds_do_not_depend_on_the_unit_of_entropy(entropy: np.ndarray[Any, Any], scale: float, shift: float) -> None:
    known = entropy[~np.isnan(entropy)]
    if len(known) and 0 < np.ptp(known) < 1e-3:
        return  # near the threshold below which a batch has no spread, scale matters
    bounds = adaptive_upper_bounds(torch.from_numpy(entropy))
    moved = adaptive_upper_bounds(torch.from_numpy(scale * entropy + shift))
    torch.testing.assert_close(bounds, moved, rtol=0, atol=1e-9)


# Which tokens name features


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer([prompt + ANSWER for prompt in PROMPTS] * 5, 512)


def _named(tokenizer: Any, text: str) -> list[str]:
    tokens = tokenizer(text)["input_ids"]
    mask = feature_token_mask(tokenizer, tokens, STYLE)
    assert len(mask) == len(tokens)
    return [tokenizer.decode([token]).strip() for token, is_feature in zip(tokens, mask, strict=True) if is_feature]


def test_the_listed_names_and_nothing_else_are_feature_tokens(tokenizer: Any) -> None:
    assert "".join(_named(tokenizer, ANSWER)) == "heart_ratelactate"


def test_names_outside_the_list_do_not_count(tokenizer: Any) -> None:
    assert _named(tokenizer, "<Subquestion> heart_rate?<Answer> lactate<Final answer>0.35</Final answer>") == []
    assert "".join(_named(tokenizer, "<Important Features> lactate")) == "lactate"  # cut short
    assert _named(tokenizer, "<Important Features> , <Final answer>0.35</Final answer>") == []


def test_a_style_without_a_list_has_no_feature_tokens(tokenizer: Any) -> None:
    tokens = tokenizer(ANSWER)["input_ids"]
    assert not any(feature_token_mask(tokenizer, tokens, STYLES["think_answer"]))


def test_the_mask_follows_the_written_tokens_and_not_the_tokenizer(tokenizer: Any) -> None:
    """A policy may spell a name in single bytes."""
    before, after = ANSWER.split(" heart_rate, lactate")
    letters = [tokenizer(character)["input_ids"] for character in " heart_rate, lactate"]
    assert all(len(letter) == 1 for letter in letters)
    tokens = [*tokenizer(before)["input_ids"], *(letter[0] for letter in letters), *tokenizer(after)["input_ids"]]
    mask = feature_token_mask(tokenizer, tokens, STYLE)
    named = [tokenizer.decode([token]) for token, is_feature in zip(tokens, mask, strict=True) if is_feature]
    assert "".join(named) == "heart_ratelactate"


# The trainer


def _model(tokenizer: Any) -> Any:
    """A Llama of 2 layers whose weights are a sine, so that they hang on no random generator."""
    transformers = quiet_transformers()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weights in sorted(model.named_parameters()):
            if "norm" not in name:
                wave = torch.arange(weights.numel(), dtype=torch.float64) * 0.7 + len(name)
                weights.copy_((0.3 * wave.sin()).reshape(weights.shape))
    return model.eval()


def _trainer(tokenizer: Any, folder: Path, cls: Any = AdaptiveClippingTrainer, **options: Any) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig

    extra: dict[str, Any] = {"peft_config": options.pop("peft_config", None)}
    if cls is AdaptiveClippingTrainer:
        extra["adaptive"] = options.pop("adaptive", True)
        extra["feature_tokens"] = lambda tokens: feature_token_mask(tokenizer, tokens, STYLE)
    config = GRPOConfig(
        output_dir=str(folder),
        **{
            "per_device_train_batch_size": 4,
            "num_generations": 4,
            "num_iterations": 2,
            "loss_type": "grpo",
            "epsilon": 0.2,
            "max_completion_length": 8,
            "activation_checkpointing": False,
            "bf16": False,
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            **options,
        },
    )
    rows = Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS])
    with torch.random.fork_rng():
        return cls(
            model=_model(tokenizer),  # it has no folder: a reference model can't be loaded, only an adapter left out
            args=config,
            reward_funcs=lambda completions, **_: [float(len(text) % 5) for text in completions],
            train_dataset=rows,
            processing_class=tokenizer,
            **extra,
        )


def _batch(tokenizer: Any) -> dict[str, torch.Tensor]:
    """Four completions of unlike lengths with advantages of both signs, sampled by a policy a little away."""
    answers = [ANSWER, ANSWER.replace("heart_rate, lactate", "lactate"), ANSWER[:60], ANSWER.replace("0.35", "0.90")]
    prompts = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    written = [[*tokenizer(answer)["input_ids"], tokenizer.eos_token_id] for answer in answers]
    longest_prompt, longest = max(map(len, prompts)), max(map(len, written))
    pad = tokenizer.pad_token_id
    batch = {
        "prompt_ids": torch.tensor([[pad] * (longest_prompt - len(row)) + row for row in prompts]),
        "prompt_mask": torch.tensor([[0] * (longest_prompt - len(row)) + [1] * len(row) for row in prompts]),
        "completion_ids": torch.tensor([row + [pad] * (longest - len(row)) for row in written]),
        "completion_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in written]),
        "advantages": torch.tensor([1.0, 0.5, -0.7, 1.3]),
    }
    batch["num_items_in_batch"] = batch["completion_mask"].sum()
    return batch


def _forward(trainer: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each completion token and entropy before it, (B, C), from the model's logits alone."""
    tokens = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    length = batch["completion_ids"].size(1)
    with torch.no_grad():
        logits = trainer.model(input_ids=tokens, attention_mask=mask).logits[:, -length - 1 : -1].double()
    log_p = logits.log_softmax(dim=-1)
    chosen = log_p.gather(2, batch["completion_ids"].unsqueeze(2)).squeeze(2)
    return chosen, -(log_p.exp() * log_p).sum(dim=-1)


def _away(trainer: Any, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The batch with a sampling policy whose log-probabilities differ by a wave of up to 0.5."""
    log_p, _ = _forward(trainer, batch)
    wave = 0.5 * torch.sin(torch.arange(log_p.numel(), dtype=torch.float64)).reshape(log_p.shape)
    return {**batch, "old_per_token_logps": (log_p + wave).float()}


@pytest.mark.parametrize("loss_type", ["grpo", "dapo"])
def test_without_the_adaptive_bound_the_loss_is_trls(tokenizer: Any, tmp_path: Path, loss_type: str) -> None:
    from trl import GRPOTrainer

    theirs = _trainer(tokenizer, tmp_path, GRPOTrainer, loss_type=loss_type)
    ours = _trainer(tokenizer, tmp_path, adaptive=False, loss_type=loss_type)
    batch = _away(theirs, _batch(tokenizer))
    expected = theirs._compute_loss(theirs.model, batch)
    loss = ours._compute_loss(ours.model, batch)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    expected.backward()
    loss.backward()
    for ours_p, theirs_p in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(ours_p.grad, theirs_p.grad, rtol=0, atol=1e-6)


def _objective(log_ratio: torch.Tensor, batch: dict[str, torch.Tensor], upper: torch.Tensor) -> float:
    """-J, token by token: the mean over trajectories of the mean over their tokens."""
    means = []
    for row in range(len(upper)):
        terms = []
        advantage = batch["advantages"][row].item()
        for token in range(int(batch["completion_mask"][row].sum())):
            ratio = math.exp(log_ratio[row, token].item())
            clipped = min(max(ratio, 1 - 0.2), 1 + upper[row].item())
            terms.append(min(ratio * advantage, clipped * advantage))
        means.append(sum(terms) / len(terms))
    return -sum(means) / len(means)


def test_the_adaptive_loss_is_the_papers_objective(tokenizer: Any, tmp_path: Path) -> None:
    trainer = _trainer(tokenizer, tmp_path)
    batch = _away(trainer, _batch(tokenizer))
    log_p, entropy = _forward(trainer, batch)
    means = []
    for row, tokens in enumerate(batch["completion_ids"].tolist()):
        length = int(batch["completion_mask"][row].sum())
        named = feature_token_mask(tokenizer, tokens[:length], STYLE)
        chosen = [entropy[row, i].item() for i in range(length) if named[i]]
        means.append(sum(chosen) / len(chosen) if chosen else float("nan"))
    assert math.isnan(means[2])  # it was cut before its list
    lowest, highest = np.nanmin(means), np.nanmax(means)
    upper = torch.tensor([0.2 if math.isnan(m) else 0.2 + 0.2 * (m - lowest) / (highest - lowest) for m in means])

    bounds = trainer._upper_bounds(batch, entropy.float())
    torch.testing.assert_close(bounds.double(), upper.unsqueeze(1), rtol=0, atol=1e-4)
    loss = trainer._compute_loss(trainer.model, {**batch, "upper_bound": bounds})
    log_ratio = log_p - batch["old_per_token_logps"].double()
    assert loss.item() == pytest.approx(_objective(log_ratio, batch, upper), abs=1e-5)
    assert (trainer.epsilon_low, trainer.epsilon_high) == (0.2, 0.2)  # restored

    # What the bound changed is what the log says it changed.
    mask = batch["completion_mask"].bool()
    ratio, positive = log_ratio.exp(), (batch["advantages"] > 0).unsqueeze(1)
    above = (ratio > 1.2) & positive & mask
    freed = above & (ratio <= 1 + upper.unsqueeze(1))
    assert 0 < freed.sum() < above.sum()
    metrics = trainer._metrics["eval"]
    assert metrics["clip/above_fixed"] == [pytest.approx(above.sum().item() / mask.sum().item())]
    assert metrics["clip/freed"] == [pytest.approx(freed.sum().item() / mask.sum().item())]


@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_the_bounds_come_from_the_policy_that_sampled(tokenizer: Any, tmp_path: Path, beta: float) -> None:
    """Through TRL's own generation; with an adapter the reference is the same model without it."""
    from peft import LoraConfig

    adapter = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    trainer = _trainer(tokenizer, tmp_path, beta=beta, peft_config=adapter, max_completion_length=20)
    rows = [{"prompt": PROMPTS[0]}] * 4
    # The sampled texts of an untrained model list no features: here every other token counts as one.
    trainer._feature_tokens = lambda tokens: [i % 2 == 0 for i in range(len(tokens))]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        batch = trainer._generate_and_score_completions(rows)
    assert batch["completion_mask"].sum(dim=1).min() > 1
    _, entropy = _forward(trainer, batch)
    chosen = torch.arange(entropy.size(1)) % 2 == 0
    counted = batch["completion_mask"] * chosen
    means = (entropy * counted).sum(dim=1) / counted.sum(dim=1)
    expected = 0.2 + 0.2 * (means - means.min()) / (means.max() - means.min())
    torch.testing.assert_close(batch["upper_bound"].squeeze(1).double(), expected, rtol=0, atol=1e-3)


def test_a_reference_of_its_own_is_asked_for_no_entropies(tokenizer: Any, tmp_path: Path) -> None:
    """TRL gives the head of a reference model none; with one step for a generated batch it is scored first."""
    from trl.trainer.utils import add_fused_lm_head

    trainer = _trainer(tokenizer, tmp_path, beta=0.0, num_iterations=1, adaptive=False)
    trainer.ref_model, trainer.beta = _model(tokenizer), 0.04
    add_fused_lm_head(trainer.ref_model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        batch = trainer._generate_and_score_completions([{"prompt": PROMPTS[0]}] * 4)
    assert batch["ref_per_token_logps"].shape == batch["completion_ids"].shape
    assert trainer._first_pass is None


def test_the_adaptive_bound_frees_gradient_and_takes_none(tokenizer: Any, tmp_path: Path) -> None:
    """One token with a ratio of 1.3: clipped at 0.2, not at 0.4; a negative advantage is not clipped above."""
    trainer = _trainer(tokenizer, tmp_path)
    batch = {name: values[:1] if values.ndim else values for name, values in _batch(tokenizer).items()}
    log_p, _ = _forward(trainer, batch)
    batch["old_per_token_logps"] = (log_p - math.log(1.3)).float()

    def gradient(upper: float, advantage: float) -> float:
        trainer.model.zero_grad()
        inputs = {**batch, "advantages": torch.tensor([advantage]), "upper_bound": torch.tensor([[upper]])}
        trainer._compute_loss(trainer.model, inputs).backward()
        return sum(p.grad.norm().item() for p in trainer.model.parameters())

    assert gradient(0.2, 1.0) == 0.0
    assert gradient(0.4, 1.0) > 1e-3
    assert gradient(0.2, -1.0) == pytest.approx(gradient(0.4, -1.0), rel=1e-6)


GOLDEN = {"grpo": -0.485140, "dapo": -0.640182}


@pytest.mark.parametrize("loss_type", sorted(GOLDEN))
def test_golden_trajectories(tokenizer: Any, tmp_path: Path, loss_type: str) -> None:
    """A fixed model and fixed trajectories; an upgrade of TRL or transformers that changes the loss is noticed."""
    trainer = _trainer(tokenizer, tmp_path, loss_type=loss_type)
    trainer.beta = 0.04
    batch = _away(trainer, _batch(tokenizer))
    batch["ref_per_token_logps"] = batch["old_per_token_logps"] - 0.1
    batch["upper_bound"] = torch.tensor([[0.25], [0.4], [0.2], [0.3]])
    assert trainer._compute_loss(trainer.model, batch).item() == pytest.approx(GOLDEN[loss_type], abs=2e-5)


def test_a_single_step_per_generated_batch_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no clip can act"):
        _trainer(tokenizer, tmp_path, num_iterations=1)
    with pytest.raises(ValueError, match="no clip can act"):
        _trainer(tokenizer, tmp_path, num_iterations=1, gradient_accumulation_steps=2, steps_per_generation=2)
    _trainer(tokenizer, tmp_path, num_iterations=1, adaptive=False)
    _trainer(tokenizer, tmp_path, num_iterations=1, steps_per_generation=2)
