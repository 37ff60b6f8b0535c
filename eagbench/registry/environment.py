"""The properties of the machine that can change results."""

from __future__ import annotations

import functools
import platform
import sys
from pathlib import Path

# Without one of these, Linux has no accelerator that PyTorch could use, and PyTorch need not be asked.
_ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@functools.cache
def device() -> str:
    """Name the device that PyTorch computes on: a GPU's name, or `cpu`."""
    if sys.platform == "linux" and not any(Path(path).exists() for path in _ACCELERATORS):
        return "cpu"
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"


def machine() -> dict[str, str]:
    """Return the processor type and the part of Python's version that can change syntax and arithmetic."""
    return {"python": ".".join(platform.python_version_tuple()[:2]), "machine": platform.machine()}
