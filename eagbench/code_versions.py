"""What of the code, the libraries and the machine changes numbers: it is part of every stage's fingerprint."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path

import eagbench
from eagbench.registry import source_hash
from eagbench.stage import content_hash

NUMERIC_LIBRARIES = (
    "accelerate", "captum", "lightgbm", "numpy", "pandas", "peft", "polars", "pyarrow", "pyhealth", "scikit-learn",
    "scipy", "tokenizers", "torch", "transformers", "trl",
)  # fmt: skip

# What of the core each of its stages depends on, as paths below eagbench/. A change there makes results anew.
_SHARED = ("types.py", "stage.py", "inputs.py", "shared_concepts.py", "cohort_files.py", "arrays.py")
_CODE: Mapping[str, tuple[str, ...]] = {
    "source": ("stages/cohort.py", "vocabulary"),
    "cohort": ("stages/cohort.py", "vocabulary"),
    "split": ("stages/split.py",),
    "nested_split": ("stages/split.py", "stages/nested_split.py"),
    "domain": ("stages/domains.py", "stages/split.py"),
    "shared_concepts": ("stages/domains.py", "unit_mismatch.py", "vocabulary"),
    "covariate_shift": ("stages/domains.py",),
    "expert": ("stages/expert.py",),
    "teacher": ("stages/salience.py",),
    "constant_list": ("stages/salience.py",),
    "salience": ("stages/salience.py",),
    "record_text": ("stages/record_text.py", "prompting"),
    "policy": ("stages/policy.py", "prompting"),
    "predict": ("stages/predict.py", "prompting"),
    "recalibration": ("stages/recalibration.py", "stats"),
    "subgroups": ("stages/subgroups.py",),
    "score": ("stages/score.py", "stages/recalibration.py", "stages/subgroups.py", "metrics", "stats"),
    "references": ("stages/score.py", "stages/subgroups.py", "metrics", "stats"),
}


@functools.cache
def environment() -> dict[str, str]:
    """What of the machine and its libraries changes numbers: versions, processor type, device."""
    import torch

    versions = {name: importlib.metadata.version(name) for name in NUMERIC_LIBRARIES}
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    python = ".".join(platform.python_version_tuple()[:2])
    return {**versions, "python": python, "machine": platform.machine(), "device": device}


@functools.cache
def core_code(kind: str) -> str:
    """Version of the core's code behind a kind of stage."""
    root = Path(eagbench.__file__).parent
    hashes = [source_hash(root / part) for part in (*_SHARED, *_CODE.get(kind, ()))]
    return f"eagbench=={eagbench.__version__}+{content_hash([hashes, environment()])[:16]}"
