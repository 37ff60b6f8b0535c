"""Measure the peak memory of one training step of each stage with a real model, on two revisions.

    python speed/training_memory.py --model FOLDER [--base REVISION] [--lora] [--dtype float32] [--memory-gb 8]

Stage I: one step on 4 rows of about 530 tokens. Stage II: one generated batch of 4 trajectories of one case (a prompt
of about 480 tokens, 48 new ones) and the step on it. Each runs in a process of its own; its peak is VmHWM, the most
that was resident, weights and libraries included. Both sides run in one call of this script: another revision in
float32, which was its `auto` on a CPU, and the working tree in each --dtype and with each --memory-gb.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from revisions import ROOT, environment_of, worktree

STAGES = ("I", "II")
PROMPT = "heart rate 92, 95, 101 /min; lactate 2.1 mmol/L; age 64 years\n" * 14


def main() -> None:
    """Measure both sides, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model folder")
    parser.add_argument("--base", default="HEAD", help="the revision to compare with; `none` for no other")
    parser.add_argument("--lora", action="store_true", help="train adapters of rank 16")
    parser.add_argument("--dtype", nargs="+", default=["bfloat16"])
    parser.add_argument("--memory-gb", nargs="*", type=float, default=[])
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        _step(**args.child)
        return
    common = {"model": str(args.model.expanduser().resolve()), "lora": args.lora}
    ours = [{"dtype": dtype} for dtype in args.dtype]
    if args.memory_gb:
        ours = [{**params, "memory_gb": most} for params in ours for most in args.memory_gb]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if args.base != "none":
            with worktree(args.base, folder / "tree") as base:
                python = environment_of(base, folder / "base")
                _measured(python, args.base, args.stages, {**common, "params": {"dtype": "float32"}})
        python = environment_of(ROOT, folder / "ours")
        for params in ours:
            _measured(python, "working tree", args.stages, {**common, "params": params})


def _measured(python: Path, side: str, stages: list[str], given: dict[str, Any]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    environment.pop("PYTHONPATH", None)
    for stage in stages:
        command = [str(python), __file__, "--model", "-", "--child", json.dumps({**given, "stage": stage})]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        words = ", ".join(f"{key} {value}" for key, value in given["params"].items())
        print(
            f"{side:<13} Stage {stage:<3} {'LoRA' if given['lora'] else 'all weights':<12} {words:<32} "
            f"{found['peak_gb']:6.2f} GB {found['seconds']:6.1f} s",
            flush=True,
        )


def _step(model: str, lora: bool, params: dict[str, Any], stage: str) -> None:
    """Train one step in this process, and print its peak memory and its seconds as JSON."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        policy, out = folder / "policy", folder / "out"
        policy.mkdir()
        out.mkdir()
        told = {"name": "hf", "params": {"path": model, "device": "cpu", **params}}
        (policy / "policy.json").write_text(json.dumps(told))
        trained = {"lora": {"rank": 16, "dropout": 0} if lora else None}
        start = time.perf_counter()
        (_stage_i if stage == "I" else _stage_ii)(policy, out, trained)
        seconds = time.perf_counter() - start
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"peak_gb": int(peak.split()[1]) * 1024 / 1e9, "seconds": seconds}))


def _stage_i(policy: Path, out: Path, trained: dict[str, Any]) -> None:
    from eagbench.api import STYLES, StageRun
    from eagbench_plugins.eagrl.fine_tuning import FineTuning
    from eagbench_plugins.eagrl.sft_training import Example, train

    style = STYLES["vanilla"]
    answer = "The lactate is high and the heart rate rises, so the risk is raised. " * 2
    completion = f"{answer}{style.answer_open}0.35{style.answer_close}"
    examples = [Example(f"{PROMPT}case {i}", completion) for i in range(4)]
    params = FineTuning(steps=1, batch_size=4, learning_rate=1e-4, **trained)
    train(examples, policy, style, params, StageRun({}, {}, 0, out))


def _stage_ii(policy: Path, out: Path, trained: dict[str, Any]) -> None:
    import numpy as np

    from eagbench.api import STYLES, StageRun
    from eagbench_plugins.eagrl.optimisation import Optimisation
    from eagbench_plugins.eagrl.policy_optimisation_training import train

    params = Optimisation(
        steps=1,
        cases=1,
        group_size=4,
        passes=1,
        mini_batches=1,
        balance=False,
        adaptive_clipping=False,
        learning_rate=1e-4,
        **trained,
    )
    run = StageRun({"max_new_tokens": 48}, {"policy": policy}, 0, out)
    judged: Any = [_Judged(STYLES["vanilla"])]
    train(judged, np.zeros((1, 1), dtype=int), params, run)


class _Judged:
    """A case whose answers get rewards that differ, so that there is something to learn."""

    def __init__(self, style: Any) -> None:
        self.prompt, self.style, self.label, self.seen = PROMPT, style, 1, 0
        self.feature_spans: dict[str, Any] = {}

    def reward(self, *_: Any) -> dict[str, float]:
        """Give a reward."""
        return {"total": 0.0}

    def read(self, generation: Any) -> Any:
        """Read nothing."""
        from eagbench.api import Trajectory

        return Trajectory("case", generation.text, (), None, 0, 0.5, generation.tokens)

    def judge(self, trajectory: Any) -> dict[str, float]:
        """Reward the trajectories with 0, 1, 2, ..."""
        del trajectory
        self.seen += 1
        return {"total": float(self.seen)}


if __name__ == "__main__":
    main()
