"""Say which cells of a run failed, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_NAMED_CELLS = 3


def failure_lines(failed: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write one line per reason, with the cells that failed for it.

    Args:
        failed: `failed` of a manifest.
    """
    by_reason: dict[str, list[Mapping[str, Any]]] = {}
    for failure in failed:
        of_metric = failure["metric"] is not None
        what = f"metric {failure['metric']}" if of_metric else failure["stage"]
        by_reason.setdefault(f"{what}: {failure['reason']}", []).append(failure)
    lines = []
    for reason, cells in by_reason.items():
        more = f" and {len(cells) - _NAMED_CELLS} more cells" if len(cells) > _NAMED_CELLS else ""
        lines.append(f"failed: {'; '.join(map(_cell_name, cells[:_NAMED_CELLS]))}{more}: {reason}")
    return lines


def _cell_name(failure: Mapping[str, Any]) -> str:
    severity = "" if failure["severity"] is None else f" {failure['severity']:g}"
    return f"{failure['method']}, seed {failure['seed']}, {failure['condition']}{severity}"
