"""Parameters of trajectories that a vLLM server writes."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from eagbench.api import StrictParams

_HERE = {"127.0.0.1", "localhost", "::1"}


class VLLMRollouts(StrictParams):
    """Stage II's trajectories come from a vLLM server on this machine, which reads the adapters from a folder.

    Attributes:
        name: `vllm`.
        base_url: The address up to and including the version. The server has to be on this machine: it reads files of
            the run, and prompts are patients' records.
        folder: Folder in which a folder with the adapters is made and removed; None is the stage's own.
        concurrency: Requests at once, each for one group.
        timeout_s: How long to wait for one group, in seconds.
    """

    name: Literal["vllm"]
    base_url: str = "http://127.0.0.1:8000/v1"
    folder: str | None = None
    concurrency: int = Field(default=64, ge=1, le=1024)
    timeout_s: float = Field(default=1800, gt=0)

    @field_validator("base_url")
    @classmethod
    def _is_here(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in _HERE or parts.username is not None:
            raise ValueError("give an address on this machine, such as http://127.0.0.1:8000/v1")
        return url.rstrip("/")
