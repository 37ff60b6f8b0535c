"""Which precision `dtype: auto` means on this machine, found without importing torch wherever that is possible."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationInfo

DType = Literal["auto", "float32", "bfloat16", "float16"]
# Instructions that multiply bfloat16: Intel's AMX and AVX-512 BF16 (Intel from Cooper Lake, AMD from Zen 4).
_MULTIPLY_BFLOAT16 = frozenset({"amx_bf16", "avx512_bf16"})


def resolved(dtype: DType, device: str) -> DType:
    """Return the precision that `auto` means here; any other stays as it is.

    It is bfloat16 on a CUDA (or ROCm) GPU and on an x86 CPU that multiplies bfloat16 itself, float32 elsewhere.

    Args:
        dtype: As declared.
        device: A torch device, or `auto`: a GPU if there is one.
    """
    if dtype != "auto":
        return dtype
    on_gpu = device.startswith("cuda") or (device == "auto" and _has_gpu())
    on_cpu = device in {"auto", "cpu"} and not on_gpu
    return "bfloat16" if on_gpu or (on_cpu and multiplies_bfloat16(_cpu_facts())) else "float32"


def _settled(dtype: DType, others: ValidationInfo) -> DType:
    """Replace `auto` by what it means on the parameters' device, which has to stand before it."""
    return resolved(dtype, others.data.get("device", "cpu"))


# A parameter `dtype` of a policy, settled when the parameters are validated: while planning.
SettledDType = Annotated[DType, AfterValidator(_settled)]


def multiplies_bfloat16(cpu_facts: str) -> bool:
    """Tell whether a CPU has instructions that multiply bfloat16.

    Args:
        cpu_facts: The text of Linux's /proc/cpuinfo. Only x86 has a line `flags`: others are never said to have them,
            since no other was measured.
    """
    for line in cpu_facts.splitlines():
        name, _, values = line.partition(":")
        if name.strip() == "flags":
            return not _MULTIPLY_BFLOAT16.isdisjoint(values.split())
    return False


@cache
def _cpu_facts() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # no Linux: float32, which every machine computes
        return ""


@cache
def _has_gpu() -> bool:
    # torch takes seconds to import, and planning needs it for nothing else: ask it only where a driver is loaded.
    drivers = ("nvidiactl", "kfd", "dxg")  # NVIDIA's, AMD's, and Windows' subsystem for Linux
    if sys.platform == "linux" and not any((Path("/dev") / name).exists() for name in drivers):
        return False
    import torch

    return bool(torch.cuda.is_available())
