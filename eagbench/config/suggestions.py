"""Suggestions in messages about an unknown name: the nearest valid name, and all choices."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """Suggest a similar name, as a question; empty if none is similar."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean '{near[0]}'?" if near else ""


def choices(name: str, names: Iterable[str], more: str = "") -> str:
    """Suggest the nearest name and list all valid names.

    Args:
        name: The name that was written.
        names: The valid names, in the order of the list.
        more: Text to add after the list.
    """
    listed = list(names)
    offered = f"choices: {', '.join(listed) or 'none'}"
    return " ".join(filter(None, (nearest(name, listed), offered))) + more
