"""Where eagbench keeps what it has computed."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def default_root() -> Path:
    """`$EAGBENCH_STORE`, else the user's cache folder."""
    configured = os.environ.get("EAGBENCH_STORE")
    return Path(configured).expanduser() if configured else Path(platformdirs.user_cache_dir("eagbench")) / "store"
