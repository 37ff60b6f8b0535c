"""The folder where eagbench keeps its results."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def default_root() -> Path:
    """Return `$EAGBENCH_STORE` if set, else the user's cache folder."""
    configured = os.environ.get("EAGBENCH_STORE")
    return Path(configured).expanduser() if configured else Path(platformdirs.user_cache_dir("eagbench")) / "store"
