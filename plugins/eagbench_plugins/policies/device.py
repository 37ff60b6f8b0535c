"""The parameter `device` of a local policy: its words are checked while planning, the machine when the model is opened.

A benchmark may be planned on a machine without a GPU, and run on others that have one.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from eagbench.api import UserError

_DEVICE = re.compile(r"auto|cpu|(cuda|mps|xpu)(:\d+)?")


def _known(device: str) -> str:
    if not _DEVICE.fullmatch(device):
        raise ValueError(f"'{device}' is no device: write auto, cpu, cuda, cuda:1, mps or xpu")
    return device


Device = Annotated[str, AfterValidator(_known)]


def device_here(device: str) -> str:
    """Return the torch device that is meant on this machine: for `auto` a GPU if there is one, else the CPU.

    Raises:
        UserError: This machine, or its build of torch, has no such device.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a build of torch without that kind of device
        raise UserError(
            f"there is no device '{device}' on this machine: {str(error).partition('\n')[0]}",
            where="policy, device",
            hint="`device: auto` takes a GPU if there is one, else the CPU",
        ) from error
    return device
