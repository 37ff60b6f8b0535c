"""Count the tokens of a record in two forms at the same hours: `raw`, with every NaN, and `compact`.

    EAGBENCH_TJH_ROOT=... EAGBENCH_PHYSIONET2012_ROOT=... python speed/record_tokens.py [MODEL_FOLDER]

Both sides run here, on the same cases, with the tokenizer of MODEL_FOLDER (default: the fetched policy `smollm2`). With
the weights there it also times one pass over the prompts of a few cases, batch size 1, on this machine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.api import STYLES, Cases, RecordText, RecordTextParams, StageRun, policies_root, prompt_text
from eagbench.registry.plugins import load_registry
from eagbench_plugins.policies.model_input import ModelInput
from eagbench_plugins.policies.transformers_model import TransformersModel

# The data set's variable for its folder, its parameters, and the parts of the window to show.
SETTINGS: Mapping[str, tuple[str, Mapping[str, Any], int | None]] = {
    "TJH, 24 h, every hour": ("tjh", {"task": "in_hospital_mortality", "window_hours": 24}, None),
    "TJH, 24 h, 8 periods": ("tjh", {"task": "in_hospital_mortality", "window_hours": 24}, 8),
    "PhysioNet 2012, 48 h, every hour": ("physionet2012", {"window_hours": 48}, None),
    "PhysioNet 2012, 48 h, 8 periods": ("physionet2012", {"window_hours": 48}, 8),
}


def load(name: str, params: Mapping[str, Any], most: int) -> Cases:
    """Load a data set and take every n-th case, at most so many."""
    root = os.environ[f"EAGBENCH_{name.upper()}_ROOT"]
    dataset: Any = load_registry().create("dataset", name, {"root": root, **params})
    with tempfile.TemporaryDirectory() as folder:
        cases: Cases = dataset.load(StageRun({}, {}, 0, Path(folder))).cases
    return cases.select(range(0, len(cases), max(1, len(cases) // most)))


def forms(periods: int | None) -> dict[str, RecordText]:
    """Return both forms of a record."""
    return {
        "raw": RecordText(RecordTextParams(values="raw", periods=periods)),
        "compact": RecordText(RecordTextParams(values="compact", periods=periods)),
    }


def count(read: ModelInput, cases: Cases, text: RecordText) -> tuple[Any, Any]:
    """Count the tokens of each record by itself, and of each prompt in the chat template."""
    records = read.tokenized([text.render(case, cases) for case in cases])["input_ids"]
    prompts = [prompt_text(STYLES["vanilla"], case, cases, text) for case in cases]
    return np.array([len(row) for row in records]), np.array(read.prompt_tokens(prompts))


def seconds_per_prompt(model: TransformersModel, cases: Cases, text: RecordText) -> float:
    """Time the reading of one prompt: the last of two passes, the mean over the cases."""
    prompts = [prompt_text(STYLES["vanilla"], case, cases, text) for case in cases]
    for _ in range(2):
        started = time.perf_counter()
        for prompt in prompts:
            model.continuation_probabilities([prompt], [""], ["0"])
        seconds = time.perf_counter() - started
    return seconds / len(prompts)


def main() -> None:
    """Print medians, the longest record and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=policies_root() / "smollm2")
    parser.add_argument("--cases", type=int, default=400, help="cases per data set")
    parser.add_argument("--timed", type=int, default=8, help="cases whose prompts are timed; 0 for none")
    chosen = parser.parse_args()
    read = ModelInput.load(chosen.model)
    model = TransformersModel.load(chosen.model, batch_size=1) if chosen.timed else None
    print(f"{'':<34} {'form':<8} {'record':>7} {'longest':>8} {'prompt':>7} {'longest':>8} {'s a prompt':>11}")
    for label, (name, params, periods) in SETTINGS.items():
        cases = load(name, params, chosen.cases)
        records = {}
        for form, text in forms(periods).items():
            record, prompt = count(read, cases, text)
            records[form] = record
            seconds = ""
            if model is not None:
                seconds = f"{seconds_per_prompt(model, cases.select(range(chosen.timed)), text):.2f}"
            print(
                f"{label:<34} {form:<8} {np.median(record):>7.0f} {record.max():>8} {np.median(prompt):>7.0f} "
                f"{prompt.max():>8} {seconds:>11}"
            )
        whole = records["raw"] / records["compact"]
        print(
            f"{label:<34} raw/compact, record: of medians "
            f"{np.median(records['raw']) / np.median(records['compact']):.2f}, median {np.median(whole):.2f}, "
            f"smallest {whole.min():.2f}; {len(cases)} cases"
        )


if __name__ == "__main__":
    main()
