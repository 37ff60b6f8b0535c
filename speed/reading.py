"""Count the positions that a language model computes in a small EAG-RL run, and time searches and predictions.

    python speed/reading.py [--base REVISION]                          positions, policy `tiny`
    python speed/reading.py [--base REVISION] --model FOLDER [--threads 2]   seconds, policy `hf` with that model

Both sides run the same benchmark on TJH in one run of this script: the working tree and another revision, each in its
own empty store. The positions are all that go through the model without gradient, padding included, scoring of Stage II
apart. They are compared with the nodes of the trie of texts: the distinct beginnings of all that was read and written,
for each stage and state of the weights. The seconds are those of the stages, from costs.csv, with as many threads on
both sides. The model should be able to write the answers' format, or there is nothing to score: take the folder of the
stage `policy` in the store of a run with SmolLM2. How many answers could not be read is printed. Needs the open data
(../shared/data, or DATA=FOLDER).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from revisions import ROOT, environment_of, worktree

TINY = """\
name: reading
data: {{name: tjh, root: '{root}/tjh', window_hours: 24}}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}}
policy: {{name: tiny, steps: 200, hidden_dim: 64, layers: 2}}
record_text: {{values: quantile, periods: 1, instructions: short}}
answer: expectation
methods:
  - name: eag_rl
    expert: lightgbm
    search: {{name: expert_mcts}}
    token_budget: 512
    max_new_tokens: 96
    max_training_cases: 24
    sft: {{steps: 12}}
    policy_optimisation: {{steps: 2, cases: 4, group_size: 8, passes: 2, mini_batches: 2}}
metrics: [auroc]
intervals: {{resamples: 100}}
"""
LARGE = """\
name: reading
data: {{name: tjh, root: '{root}/tjh', window_hours: 24}}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}}
policy: {{name: hf, path: '{model}', dtype: {dtype}}}
record_text: {{values: quantile, periods: 1, instructions: short}}
answer: {answer}
methods:
  - name: {method}
    {rest}
metrics: [auroc]
intervals: {{resamples: 100}}
"""
SEARCH = """expert: lightgbm
    search: {name: expert_mcts}
    token_budget: 512
    max_training_cases: 16
    sft: {steps: 1, batch_size: 1}"""
STAGE_II = SEARCH.replace("max_training_cases: 16", "max_training_cases: 4") + (
    "\n    policy_optimisation: {steps: 1, cases: 2, group_size: 8, passes: 2, mini_batches: 2, max_gradient_norm: 1}"
)
# What is timed: the answer mode, the method, its parameters, the patients, and the stage whose seconds count.
TIMED = {
    "expert_mcts, 16 cases": ("greedy", "trajectory_distillation", SEARCH, 120, "trajectories"),
    "Stage II, a batch of 2 x 8": ("greedy", "eag_rl", STAGE_II, 60, "policy_optimisation"),
    "mean_of_n (4)": ("{mode: mean_of_n, samples: 4}", "prompt", "max_new_tokens: 64", 60, "predict"),
    "expectation": ("expectation", "prompt", "style: vanilla\n    max_new_tokens: 64", 60, "predict"),
}


def main() -> None:
    """Measure both sides in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="HEAD", help="the revision to compare with")
    parser.add_argument("--model", type=Path, help="a model folder")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="one of the timed parts, by the beginning of its name")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        counted(args.child, args.rest)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with worktree(args.base, folder / "tree") as base:
            sides = {
                args.base: environment_of(base, folder / "base"),
                "working tree": environment_of(ROOT, folder / "ours"),
            }
            if args.model is None:
                compare_positions(sides, folder)
            else:
                compare_seconds(sides, folder, args)


def compare_positions(sides: dict[str, Path], folder: Path) -> None:
    """Run the benchmark with `tiny` on both sides, and print positions and nodes."""
    benchmark = folder / "tiny.yaml"
    benchmark.write_text(TINY.format(root=_data()))
    for side, python in sides.items():
        found = _run(python, benchmark, folder / side.replace(" ", "_"), ())
        print(
            f"{side:<14} {found['computed']:>8,} positions, {found['nodes']:>7,} nodes: "
            f"{found['computed'] / found['nodes']:.2f} positions per node"
        )


def compare_seconds(sides: dict[str, Path], folder: Path, args: argparse.Namespace) -> None:
    """Run each timed part on both sides, and print the seconds of its stage and their ratio."""
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read by revisions whose benchmarks declare no threads
    benchmark = folder / "large.yaml"
    for name, (answer, method, rest, patients, stage) in TIMED.items():
        if not name.startswith(args.only or ""):
            continue
        text = LARGE.format(
            root=_data(), model=args.model.resolve(), dtype=args.dtype, answer=answer, method=method, rest=rest
        )
        seconds, unread = {}, []
        for side, python in sides.items():
            out = folder / f"{side}_{len(name)}_{stage}".replace(" ", "_")
            declared = "" if side == args.base and not _declares_threads(side) else f"threads: {args.threads}\n"
            benchmark.write_text(text + declared)
            _run(python, benchmark, out, ("--limit", str(patients)))
            with (out / "costs.csv").open(newline="") as stream:
                seconds[side] = sum(float(row["seconds"]) for row in csv.DictReader(stream) if row["kind"] == stage)
            with (out / "results.csv").open(newline="") as stream:
                row = next(csv.DictReader(stream))
                unread.append(f"{row['n_unparsed']} of {row['n_cases']}")
        before, after = seconds.values()
        unreadable = f"unreadable {unread[0]}, {unread[1]}"
        print(f"{name:<28} {before:8.1f} s {after:8.1f} s   ratio {before / after:.1f}   {unreadable}", flush=True)


def _declares_threads(revision: str) -> bool:
    """Tell whether benchmarks of a revision declare their threads."""
    command = ["git", "grep", "--quiet", "threads: int", revision, "--", "eagbench/config/benchmark.py"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def _data() -> Path:
    return Path(os.environ.get("DATA", ROOT.parent / "shared" / "data")).resolve()


def _run(python: Path, benchmark: Path, out: Path, options: tuple[str, ...]) -> Any:
    """Run a benchmark in a child that counts, with a store of its own; return its counts."""
    counts = out.with_suffix(".json")
    command = [python, __file__, "--child", counts, "--", "run", benchmark, "--out", out, "--quiet", *options]
    environment = {**os.environ, "EAGBENCH_STORE": str(out.with_suffix(".store"))}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if not counts.exists():
        raise SystemExit(done.stdout + done.stderr)
    return json.loads(counts.read_text())


def counted(path: Path, command: list[str]) -> None:
    """Run eagbench's command line in this process, and write what its language models computed and read."""
    import torch

    from eagbench.cli.main import main as eagbench
    from eagbench_plugins.eagrl import dynamic_sampling
    from eagbench_plugins.policies.transformers_model import TransformersModel

    counter = Counter()

    def computed(module: Any, given: Any) -> None:
        if isinstance(module, torch.nn.Embedding) and not torch.is_grad_enabled() and not counter.paused:
            counter.computed += given[0].numel()

    torch.nn.modules.module.register_module_forward_pre_hook(computed)
    counter.follow(TransformersModel, dynamic_sampling.DynamicSamplingTrainer)
    sys.argv = ["eagbench", *command]
    try:
        eagbench()
    except SystemExit as end:
        if end.code:
            raise
    path.write_text(json.dumps({"computed": counter.computed, "nodes": len(counter.nodes)}))


class Counter:
    """Positions computed, and the nodes of the trie of texts."""

    def __init__(self) -> None:
        self.computed = 0
        self.paused = False
        self.nodes: set[int] = set()

    def add(self, owner: int, ids: list[int]) -> None:
        """Add a text's beginnings to the trie of its model and weights."""
        node = hash(owner)
        for token in ids:
            node = hash((node, token))
            self.nodes.add(node)

    def follow(self, model_class: Any, trainer_class: Any) -> None:
        """Make a model's and a trainer's methods report the texts that they read and write."""
        generate, probabilities = model_class.generate, model_class.continuation_probabilities
        single_turn, score = trainer_class._generate_single_turn, trainer_class._get_per_token_logps_and_entropies

        asked: dict[int, tuple[Any, Any]] = {}

        def add_written(model: Any, prompts: Any, written: Any, texts: Any) -> None:
            for prompt, begun, text in zip(prompts, written or [""] * len(prompts), texts, strict=True):
                read = model._encode([model.as_input(prompt) + begun])[0]
                own = model.tokenizer(text.verbatim, add_special_tokens=False)["input_ids"]
                self.add(id(model), [*read, *own[: max(0, text.tokens - 1)]])  # the last token is written, not read

        def generating(model: Any, prompts: Any, sampling: Any, seed: int, written: Any = None) -> Any:
            texts = generate(model, prompts, sampling, seed, written)
            add_written(model, prompts, written, texts)
            return texts

        def taking_up(model: Any, prompts: Any, sampling: Any, seed: int, written: Any = None) -> Any:
            number = take_up(model, prompts, sampling, seed, written)
            asked[number] = prompts, written
            return number

        def writing_on(model: Any) -> Any:
            finished = write_on(model)
            for number, texts in finished.items():
                add_written(model, *asked.pop(number), texts)
            return finished

        def scoring(model: Any, prompts: Any, written: Any, candidates: Any) -> Any:
            for prompt, begun in zip(prompts, written, strict=True):
                read = model._encode([model.as_input(prompt) + begun])[0]
                for candidate in candidates:
                    self.add(
                        id(model), [*read, *model.tokenizer(candidate, add_special_tokens=False)["input_ids"][:-1]]
                    )
            return probabilities(model, prompts, written, candidates)

        def sampling(trainer: Any, prompts: Any, *args: Any, **kwargs: Any) -> Any:
            result = single_turn(trainer, prompts, *args, **kwargs)
            for prompt, text in zip(prompts, result[0], strict=True):
                self.add(hash((id(trainer), trainer.state.global_step)), [*prompt, *text[:-1]])
            return result

        def passing(trainer: Any, *args: Any, **kwargs: Any) -> Any:
            self.paused = True
            try:
                return score(trainer, *args, **kwargs)
            finally:
                self.paused = False

        model_class.generate, model_class.continuation_probabilities = generating, scoring
        if hasattr(model_class, "take_up"):  # searches of former revisions only generate
            take_up, write_on = model_class.take_up, model_class.write_on
            model_class.take_up, model_class.write_on = taking_up, writing_on
        trainer_class._generate_single_turn, trainer_class._get_per_token_logps_and_entropies = sampling, passing


if __name__ == "__main__":
    main()
