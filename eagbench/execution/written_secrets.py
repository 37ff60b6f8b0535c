"""A stage's files hold no secret of its parameters: a component that writes them down fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os.path import commonprefix
from pathlib import Path
from typing import Any

from eagbench.contracts.stages import StageNode
from eagbench.errors import UserError

_SHORTEST = 6  # as in texts: a shorter one would be found by chance


def refuse_written_secrets(node: StageNode, folder: Path) -> None:
    """Refuse a stage that wrote a secret into its folder.

    Raises:
        UserError: A file holds a secret of the stage's parameters, or of its component's.
    """
    given = [(node.params, node.locations)]
    if node.component is not None:
        given.append((node.component.params, node.component.locations))
    for params, locations in given:
        for key in locations.keys() & params.keys():  # kept apart as given, and masked among the others
            secrets = [text.encode() for text in _hidden(locations[key], params[key]) if len(text) >= _SHORTEST]
            for path in folder.rglob("*") if secrets else ():
                if path.is_file() and any(secret in path.read_bytes() for secret in secrets):
                    raise UserError(
                        f"{path.name} of the stage {node.kind} '{node.label}' would hold the secret that is given in "
                        f"'{key}'",
                        hint="give the name of an environment variable, or keep the secret out of this parameter",
                    )


def _hidden(given: Any, masked: Any) -> Iterator[str]:
    """Yield the parts of a tree of values that its masked form lacks."""
    if isinstance(given, Mapping) and isinstance(masked, Mapping):
        for key, value in given.items():
            yield from _hidden(value, masked.get(key))
    elif isinstance(given, list | tuple) and isinstance(masked, list | tuple):
        for value, shown in zip(given, masked, strict=True):
            yield from _hidden(value, shown)
    elif given != masked:
        text, shown = str(given), str(masked)
        start = len(commonprefix([text, shown]))  # noqa: RUF071 - of texts, not of paths
        end = len(commonprefix([text[start:][::-1], shown[start:][::-1]]))  # noqa: RUF071
        yield text[start : len(text) - end]
