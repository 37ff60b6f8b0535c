"""Write `curves.jsonl` (training metrics per batch) and `summary.json` (their summary) of Stage II."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Name in curves.jsonl: name in the trainer's log. The reward's parts and the rate of unparsed answers join them.
_CURVES = {
    "loss": "loss",
    "gradient_norm": "grad_norm",
    "reward": "reward",
    "reward_std": "reward_std",
    "groups_without_spread": "frac_reward_zero_std",
    "groups_resampled": "groups_resampled",
    "without_step": "without_step",
    "generated_tokens": "generated_tokens",
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
PART = "part/"
UNPARSED = "unparsed_rate"
TRUNCATED_THOUGHT = "truncated_thought"  # rate of thoughts that were not closed, where the policy thinks

# Below this share of tokens above the fixed bound, whether the bound is adaptive makes no difference worth a name.
_LEAST_CLIPPED = 0.01


def write_curves(log: Sequence[Mapping[str, Any]], steps_per_batch: int, path: Path) -> list[dict[str, Any]]:
    """Write and return one line per generated batch.

    Args:
        log: The trainer's log history.
        steps_per_batch: Optimisation steps that follow each generated batch.
        path: The file to write.
    """
    lines = []
    for entry in log:
        if "reward" not in entry:
            continue
        line = {name: entry[key] for name, key in _CURVES.items() if key in entry}
        line |= {f"reward_{name.removeprefix(PART)}": entry[name] for name in entry if name.startswith(PART)}
        line |= {name: entry[name] for name in (UNPARSED, TRUNCATED_THOUGHT) if name in entry}
        lines.append({"step": entry["step"] // steps_per_batch, **line})
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines), encoding="utf-8")
    partial.replace(path)
    return lines


def summarise_curves(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarise the training in a few numbers.

    Args:
        lines: The lines of curves.jsonl, at least one.

    Returns:
        `generated_batches`; `batches_without_step`, how many of them made no optimiser step because they had nothing to
        learn from; the means over them of `clip_above_fixed`, `clip_freed`, `clip_high`, `clip_low`,
        `groups_without_spread` and `groups_resampled`; `entropy_first` and `entropy_last` of the first and last batch;
        `kl_last` (None where it was not measured); `reward_first` and `reward_last`, means over the first and last
        third of the batches; and `clipping_void`, which is true if too few tokens exceeded the fixed bound for an
        ablation of the adaptive bound to mean anything.
    """
    third = -(-len(lines) // 3)
    averaged = ("clip_above_fixed", "clip_freed", "clip_high", "clip_low", "groups_without_spread", "groups_resampled")
    means = {name: _mean(lines, name) for name in averaged}
    return {
        "generated_batches": len(lines),
        "batches_without_step": sum("without_step" in line for line in lines),
        **means,
        "entropy_first": lines[0]["entropy"],
        "entropy_last": lines[-1]["entropy"],
        "kl_last": lines[-1].get("kl"),
        "reward_first": _mean(lines[:third], "reward"),
        "reward_last": _mean(lines[-third:], "reward"),
        "clipping_void": means["clip_above_fixed"] < _LEAST_CLIPPED,
    }


def _mean(lines: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.mean([line[name] for line in lines]))
