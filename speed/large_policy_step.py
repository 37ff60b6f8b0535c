"""Run one step of each training stage of EAG-RL on a model with a large policy's shape and random weights.

    python speed/large_policy_step.py --shape qwen2.5-7b          on a GPU
    python speed/large_policy_step.py --shape small --features 8 --periods 1      the same code, half a minute on a CPU

Builds the model of the shape (speed/policy_shapes.py) with random weights, saves it with a tokenizer and a chat
template as a folder, and opens that folder through the policy `hf`, as a downloaded model would be. Then it runs, with
LoRA and activation checkpointing as benchmarks/eagrl_large.yaml does:

    sft                   `sft_training.train`: --steps steps over --texts well-formed trajectories each
    policy_optimisation   `policy_optimisation_training.train` from the policy that `sft` wrote: --steps generated
                          batches of --texts trajectories, with two passes of two mini-batches over each

and prints one JSON object. Seconds are those of the training loop, without loading and saving; the first step includes
kernel warm-up, so use --steps 3 for a rate. Peak memory is torch.cuda.max_memory_allocated on a GPU and
the peak resident size of the whole process so far on a CPU.

What is not real: the weights; the tokenizer, which is the tiny policy's, its vocabulary padded to the shape's
(no tokenizer is downloaded, so a record has another number of tokens); the records, drawn from the reference ranges;
and the reward. Random weights write no answer that can be parsed, so all real rewards would be the same and all
advantages zero. Here the reward is a hash of the text, so that a gradient flows through every part.

Disk: three times the weights (7B: 46 GB) below --work.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import platform
import resource
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from policy_shapes import SHAPES, model_config
from pydantic import BaseModel

from eagbench.api import (
    STYLES,
    Case,
    Cases,
    FeatureVocabulary,
    RecordText,
    RecordTextParams,
    StageRun,
    StrictParams,
    Task,
    TrainableLanguageModel,
    Trajectory,
    open_policy,
    prompt_text,
    quiet_transformers,
    vocabulary,
    write_answer,
)
from eagbench_plugins.eagrl.fine_tuning import FineTuning
from eagbench_plugins.eagrl.lora import LoRA
from eagbench_plugins.eagrl.optimisation import JudgedCase, Optimisation
from eagbench_plugins.policies.tiny.tokenizer import train_tokenizer

STYLE = STYLES["question_decomposition"]
PASSES, MINI_BATCHES, GROUP_SIZE = 2, 2, 8
TOKENIZER_SIZE = 1024  # of the tokenizer before it is padded: values stay several tokens long, as in a large policy's
CHAT_TEMPLATE = (
    "{% for m in messages %}<|user|>\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|policy|>\n{% endif %}"
)


class HashReward:
    """A reward in [0, 1] that depends on the text alone; see the module's docstring."""

    name: ClassVar[str] = "hash"
    Params: ClassVar[type[BaseModel]] = StrictParams

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """Hash the text into the `total`."""
        del case, label, salience
        return {"total": int.from_bytes(hashlib.sha256(trajectory.text.encode()).digest()[:4], "big") / 2**32}


def draw_cases(n: int, n_features: int, n_times: int = 24) -> Cases:
    """Draw cases with values around the reference ranges, hourly over two days, 40 % missing."""
    table = vocabulary()
    features = tuple(f for f in table.features(table.names) if None not in f.reference)[:n_features]
    low, high = np.array([f.reference for f in features], dtype=float).T
    rng = np.random.default_rng(0)
    names = tuple(f.name for f in features)
    times = np.linspace(1.0, 47.0, n_times)
    items = []
    for i in range(n):
        values = rng.normal((low + high) / 2, high - low, size=(n_times, len(features))).astype(np.float32)
        values[rng.random(values.shape) < 0.4] = np.nan
        static = {"age": float(rng.integers(20, 90)), "sex": float(rng.integers(2))}
        items.append(Case(f"case-{i}", f"case-{i}", names, times, values, static))
    task = Task("in_hospital_mortality", "die before leaving the hospital", "an intensive care physician", 48.0)
    return Cases(features, ("age", "sex"), task, tuple(items))


def trajectory_text(case: Case, i: int, words: int) -> str:
    """Write a well-formed trajectory of about `words` words."""
    observed = case.observed()
    rng = np.random.default_rng([1, i])
    steps = []
    for _ in range(3):
        named = [str(name) for name in rng.choice(observed, size=max(1, words // 6))]
        steps.append((f"What does {named[0]} say?", "It is to be read beside " + " and ".join(named) + "."))
    cited = [str(name) for name in rng.choice(observed, size=5, replace=False)]
    return write_answer(STYLE, steps, cited, round(float(rng.uniform(0.05, 0.95)), 2), "How likely is the outcome?")


def save_random_policy(shape: str, texts: Sequence[str], folder: Path, device: str, dtype: str) -> int:
    """Build and save a model with random weights, its tokenizer and chat template.

    Args:
        shape: Name in `SHAPES`.
        texts: Texts to train the tokenizer on.
        folder: Folder to save to.
        device: Device on which the weights are drawn.
        dtype: Their precision.

    Returns:
        The number of parameters.
    """
    transformers = quiet_transformers()
    config = model_config(shape)
    tokenizer = train_tokenizer(texts, TOKENIZER_SIZE)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.unk_token = tokenizer.eos_token  # else transformers adds the model family's own, beyond the vocabulary
    tokenizer.save_pretrained(folder)
    _pad_vocabulary(folder / "tokenizer.json", config.vocab_size)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == config.vocab_size
    config.pad_token_id, config.eos_token_id, config.bos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id, None
    torch.manual_seed(0)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def _pad_vocabulary(file: Path, size: int) -> None:
    """Give every row of the model's output a token, so that any output can be decoded.

    Tags and special tokens, which come after the vocabulary, move to its new end.
    """
    tree = json.loads(file.read_text(encoding="utf-8"))
    known, added = tree["model"]["vocab"], tree["added_tokens"]
    first = size - len(added)
    if first < len(known):
        raise ValueError(f"the tokenizer has {len(known) + len(added)} tokens, the shape only {size}")
    known |= {f"<unused{i}>": i for i in range(len(known), first)}
    for i, token in enumerate(added, start=first):
        token["id"] = i
    file.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")


class Clock:
    """A progress bar that records when each step ended."""

    def __init__(self, cuda: bool) -> None:
        self._cuda = cuda
        self.times: list[float] = []

    def __call__[Item](self, items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
        """Wrap the steps of a training loop."""
        del label, total
        for item in items:
            self._note()
            yield item
        self._note()

    def _note(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def steps(self) -> list[float]:
        """Return the seconds of each step."""
        return np.diff(self.times).tolist()


def stage(folder: Path, policy: Path, clock: Clock, cuda: bool, **params: Any) -> StageRun:
    """Make the `StageRun` of a training stage, and reset the peak memory count."""
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    folder.mkdir()
    return StageRun(params=params, inputs={"policy": policy}, seed=0, out=folder, progress=clock)


def peak_memory(cuda: bool) -> dict[str, int]:
    """Return the peak memory in bytes since the stage began (GPU) or since the process began (CPU)."""
    if cuda:
        return {"peak_memory_bytes": torch.cuda.max_memory_allocated()}
    unit = 1 if platform.system() == "Darwin" else 1024
    return {"peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}


def lost_in_merging(before: Path, after: Path, checkpoints: Path) -> float:
    """Measure the share of the adapters' update that is missing from the merged weights.

    It is lost because these are rounded to the policy's dtype. For the linear weights W of the first layer and their
    adapters' update U: |W_after - W_before - U| / |U|, Frobenius norm.
    """
    from transformers.trainer_utils import get_last_checkpoint

    old, new = _first_layer(before), _first_layer(after)
    adapters = _first_layer(Path(get_last_checkpoint(str(checkpoints))))
    missing, learnt = 0.0, 0.0
    for name, weight in old.items():
        [a] = [t for key, t in adapters.items() if f"{name}.lora_A" in key]  # (rank, in)
        [b] = [t for key, t in adapters.items() if f"{name}.lora_B" in key]  # (out, rank)
        update = LoRA().alpha / a.shape[0] * b.float() @ a.float()
        missing += float((new[name].float() - weight.float() - update).square().sum())
        learnt += float(update.square().sum())
    return float(np.sqrt(missing / learnt))


def _first_layer(folder: Path) -> dict[str, torch.Tensor]:
    """Read the linear weights, or adapters, of the first layer, by their names without `.weight`."""
    from safetensors import safe_open

    found = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as stream:
            for name in stream.keys():  # noqa: SIM118 - no mapping
                if ".layers.0." in name and "_proj." in name and name.endswith("weight"):
                    found[name.removesuffix(".weight")] = stream.get_tensor(name)
    return found


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Build the policy, run both stages, and return the measurements."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    cuda = device.startswith("cuda")
    n_cases = args.texts // GROUP_SIZE
    cases = draw_cases(max(n_cases * args.steps, args.texts), args.features)
    record_text = RecordText(RecordTextParams(values="raw", periods=args.periods)).fit(cases)
    prompts = [prompt_text(STYLE, case, cases, record_text) for case in cases]
    written = [trajectory_text(case, i, args.words) for i, case in enumerate(cases)]
    start = time.perf_counter()
    base = work / "base"
    base.mkdir()
    parameters = save_random_policy(args.shape, [*prompts, *written], base, device, args.dtype)
    built = time.perf_counter() - start
    params = {"path": str(base), "device": device, "dtype": args.dtype, "memory_gb": args.memory_gb}
    (base / "policy.json").write_text(json.dumps({"name": "hf", "params": params}))
    lora = LoRA(rank=args.rank)

    # Stage I
    from eagbench_plugins.eagrl.sft_training import Example, encode
    from eagbench_plugins.eagrl.sft_training import train as fine_tune

    examples = [Example(prompts[i], written[i]) for i in range(args.texts)]
    opened = open_policy(base)
    assert isinstance(opened, TrainableLanguageModel)
    lengths = [len(encode(example, opened, STYLE, 1.0)["input_ids"]) for example in examples]
    prompt_lengths = [len(opened.tokenizer(opened.as_input(prompt))["input_ids"]) for prompt in prompts]
    del opened
    fine_tuning = FineTuning(
        steps=args.steps,
        batch_size=args.texts,
        accumulate=args.texts // args.texts_at_once,
        learning_rate=1e-4,
        answer_weight=1.0,
        activation_checkpointing=True,
        checkpoint_every=1,
        lora=lora,
    )
    clock = Clock(cuda)
    run = stage(work / "sft", base, clock, cuda)
    fine_tune(examples, base, STYLE, fine_tuning, run)
    (run.out / "policy.json").write_text((base / "policy.json").read_text())
    per_step = clock.steps()
    stage_one = {
        "seconds_per_step": per_step,
        "trained_tokens_per_second": [sum(lengths) / seconds for seconds in per_step],
        "tokens_per_text": sum(lengths) / len(lengths),
        "lost_in_merging": lost_in_merging(base, run.out, run.checkpoints),
        **peak_memory(cuda),
    }

    # Stage II
    from eagbench_plugins.eagrl.policy_optimisation_training import train as optimise

    optimisation = Optimisation(
        steps=args.steps,
        cases=n_cases,
        group_size=GROUP_SIZE,
        passes=PASSES,
        mini_batches=MINI_BATCHES,
        accumulate=args.texts // (MINI_BATCHES * args.texts_at_once),
        learning_rate=1e-5,
        activation_checkpointing=True,
        checkpoint_every=1,
        lora=lora,
    )
    features = FeatureVocabulary(cases.features)
    judged = [
        JudgedCase(
            case=case,
            label=i % 2,
            prompt=prompt,
            feature_spans={},  # where the policy's attention would be looked for; this reward does not ask for it
            salience=None,
            reward=HashReward(),
            style=STYLE,
            vocabulary=features,
        )
        for i, (case, prompt) in enumerate(zip(cases, prompts, strict=True))
    ]
    order = np.arange(n_cases * args.steps).reshape(args.steps, n_cases)
    clock = Clock(cuda)
    fine_tuned = run.out
    run = stage(work / "policy_optimisation", fine_tuned, clock, cuda, max_new_tokens=args.new_tokens)
    optimise(judged, order, optimisation, run)
    seconds = np.array(clock.steps()).reshape(args.steps, PASSES * MINI_BATCHES)
    # The first step of a generated batch also writes and scores it; the others only train.
    training = seconds[:, 1:].mean(axis=1)  # (steps,)
    writing = seconds[:, 0] - training
    curves = [json.loads(line) for line in (run.out / "curves.jsonl").read_text().splitlines()]
    generated = np.array([line["length"] for line in curves]) * args.texts
    read = np.array(prompt_lengths)[order].sum(axis=1) * GROUP_SIZE
    stage_two = {
        "seconds_writing_and_scoring": writing.tolist(),
        "generated_tokens_per_second": (generated / writing).tolist(),
        "seconds_per_optimisation_step": training.tolist(),
        "trained_tokens_per_second": ((generated + read) / MINI_BATCHES / training).tolist(),
        "tokens_per_prompt": float(np.mean(prompt_lengths)),
        "tokens_per_answer": float(generated.sum() / args.texts / args.steps),
        "gradient_norm": [line["gradient_norm"] for line in curves],
        "lost_in_merging": lost_in_merging(fine_tuned, run.out, run.checkpoints),
        **peak_memory(cuda),
    }
    return {
        "shape": args.shape,
        "parameters": parameters,
        "device": torch.cuda.get_device_name(device) if cuda else f"CPU, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "dtype": args.dtype,
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft")},
        "lora_rank": args.rank,
        "texts_per_step": args.texts,
        "texts_at_once": args.texts_at_once,
        "seconds_building_and_saving": built,
        "sft": stage_one,
        "policy_optimisation": stage_two,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="small")
    parser.add_argument("--steps", type=int, default=1, help="steps of Stage I, generated batches of Stage II")
    parser.add_argument("--texts", type=int, default=16, help="trajectories per step, a multiple of 16")
    parser.add_argument("--texts-at-once", type=int, default=1, help="trajectories that go through the model at once")
    parser.add_argument("--words", type=int, default=60, help="words of a trajectory of Stage I, about")
    parser.add_argument("--new-tokens", type=int, default=64, help="tokens of a trajectory of Stage II")
    parser.add_argument("--features", type=int, default=29, help="features of a record")
    parser.add_argument("--periods", type=int, default=8, help="values shown per feature of a record")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--memory-gb", type=float, default=80.0, help="the policy's `memory_gb`")
    parser.add_argument("--work", type=Path, default=None, help="folder for the models; a temporary one by default")
    args = parser.parse_args()
    if args.texts % (MINI_BATCHES * GROUP_SIZE) or args.texts % (MINI_BATCHES * args.texts_at_once):
        parser.error("--texts must be a multiple of 16 and of twice --texts-at-once")
    # TRL 1.16 and peft call transformers 5 by names that it calls outdated.
    warnings.filterwarnings("ignore", message="`(is_)?gradient_checkpointing.* is deprecated")
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        print(json.dumps(measure(args, Path(work)), indent=1))


if __name__ == "__main__":
    main()
