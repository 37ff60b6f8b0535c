"""What a message offers beside a name that nothing has: the nearest right one, and the choices."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """Asks whether a similar name was meant; empty if none is similar."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean '{near[0]}'?" if near else ""


def choices(name: str, names: Iterable[str], more: str = "") -> str:
    """Offers the nearest name and lists all of them.

    Args:
        name: What was written.
        names: What could have been, in the order in which they are listed.
        more: What is said behind the list.
    """
    listed = list(names)
    offered = f"choices: {', '.join(listed) or 'none'}"
    return " ".join(filter(None, (nearest(name, listed), offered))) + more
