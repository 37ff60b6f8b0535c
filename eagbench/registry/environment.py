"""The libraries and the machine that numbers come from."""

from __future__ import annotations

import functools
import importlib.metadata
import platform

NUMERIC_LIBRARIES = (
    "accelerate", "captum", "lightgbm", "numpy", "pandas", "peft", "polars", "pyarrow", "pyhealth", "scikit-learn",
    "scipy", "tokenizers", "torch", "transformers", "trl",
)  # fmt: skip


@functools.cache
def environment() -> dict[str, str]:
    """What of the machine and its libraries changes numbers: versions, processor type, device."""
    import torch

    versions = {name: importlib.metadata.version(name) for name in NUMERIC_LIBRARIES}
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    python = ".".join(platform.python_version_tuple()[:2])
    return {**versions, "python": python, "machine": platform.machine(), "device": device}
