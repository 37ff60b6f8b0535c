"""`eagbench plugins list`: every component, and where it comes from. Imports plugins only if one has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eagbench.errors import UserError
from eagbench.registry.listing import KINDS, read_listing

Owner = tuple[str, str]  # distribution, plugin


def list_plugins(kind: str | None) -> str:
    """List components by kind with the package each comes from, marking duplicate names, then broken plugins.

    Raises:
        UserError: There is no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"there is no kind '{kind}'", where="--kind", hint="choices: " + ", ".join(KINDS))
    kinds = KINDS if kind is None else (kind,)
    listed = read_listing()
    if listed is None:
        return _with_plugins(kinds)
    owners: dict[tuple[str, str], list[Owner]] = {}
    for entry in listed:
        owners.setdefault((entry.kind, entry.name), []).append((entry.distribution, entry.plugin))
    return "\n".join(_lines(kinds, owners))


def _with_plugins(kinds: Sequence[str]) -> str:
    from eagbench.registry.plugins import load_registry

    registry = load_registry()
    owners = {key: [(c.distribution, c.plugin) for c in claimants] for key, claimants in registry.components.items()}
    lines = _lines(kinds, owners)
    if registry.broken:
        lines.append("could not be loaded:")
        lines.extend(
            f"  {b.plugin} of {b.distribution}: {b.reason}; traceback: `eagbench plugins check {b.distribution}`"
            for b in registry.broken
        )
    return "\n".join(lines)


def _lines(kinds: Sequence[str], owners: Mapping[tuple[str, str], Sequence[Owner]]) -> list[str]:
    lines: list[str] = []
    for kind in kinds:
        names = sorted(name for of, name in owners if of == kind)
        lines.append(f"{kind}:")
        for name in names:
            claimants = owners[kind, name]
            written = ", ".join(f"{distribution} ({plugin})" for distribution, plugin in claimants)
            clash = "  REGISTERED MORE THAN ONCE, can't be used" if len(claimants) > 1 else ""
            lines.append(f"  {name:<28} {written}{clash}")
        if not names:
            lines.append("  none")
    return lines
