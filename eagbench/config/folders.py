"""The folders where eagbench keeps its results and the models that it fetched."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def default_root() -> Path:
    """Return `$EAGBENCH_STORE` if set, else the user's cache folder."""
    configured = os.environ.get("EAGBENCH_STORE")
    return Path(configured).expanduser() if configured else Path(platformdirs.user_cache_dir("eagbench")) / "store"


def policies_root() -> Path:
    """Return `$EAGBENCH_POLICIES` if set, else `policies` in the user's data folder."""
    configured = os.environ.get("EAGBENCH_POLICIES")
    if configured:
        return Path(configured).expanduser().absolute()
    return Path(platformdirs.user_data_dir("eagbench", appauthor=False)) / "policies"
