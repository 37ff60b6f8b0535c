"""Checks that the package of a tracker is installed."""

from __future__ import annotations

import importlib.util

from eagbench.api import UserError


def require(module: str, tracker: str, distribution: str) -> None:
    """Refuse to start without the tracker's package.

    Raises:
        UserError: The package is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"the tracker '{tracker}' needs the package {distribution}, which is not installed",
            where="trackers",
            hint=f"pip install {distribution}",
        )
