"""Checks the names that a data set's parameters list."""

from __future__ import annotations

from collections.abc import Sequence

from eagbench.api import vocabulary


def check_named_once(names: Sequence[str], what: str) -> None:
    """Check that no name is listed twice.

    Raises:
        ValueError: One is.
    """
    if len(set(names)) != len(names):
        raise ValueError(f"{what} is named twice")


def check_offered(names: Sequence[str], source: str, called: str) -> None:
    """Check that a source holds each concept, and that none is listed twice.

    Args:
        names: The concepts.
        source: The source's name in the vocabulary.
        called: Its name in messages.

    Raises:
        ValueError: A concept is listed twice or is not in the source.
    """
    check_named_once(names, "a concept")
    offered = list(dict.fromkeys(place.concept for place in vocabulary().source(source)))
    unknown = [name for name in names if name not in offered]
    if unknown:
        raise ValueError(f"{called} has no {', '.join(unknown)}; concepts: {', '.join(offered)}")
