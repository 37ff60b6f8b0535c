"""What a newer eagbench wrote in a format that this one does not know: refused in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eagbench.errors import UserError


def refuse_newer(facts: Mapping[str, Any], known: int, what: str, place: Path) -> None:
    """Refuse a newer format; facts without one are of format 1.

    Args:
        facts: A manifest, or the store's own file: `format`, and the `eagbench_version` that wrote it.
        known: The newest format that this eagbench knows.
        what: What they are of, for the message.
        place: Where they are.

    Raises:
        UserError: The format is newer, or is no number.
    """
    found = facts.get("format", 1)
    if not isinstance(found, int) or found > known:
        needed = facts.get("eagbench_version")
        raise UserError(
            f"{what} has format {found}; this eagbench knows formats up to {known}",
            where=str(place),
            hint=f"use eagbench {needed} or newer" if needed else "use the eagbench that wrote it, or a newer one",
        )
