"""Thin a line to the points that can be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TOLERANCE = 0.3  # pixels


def visible(points: Sequence[tuple[float, float]], tolerance: float = TOLERANCE) -> list[tuple[float, float]]:
    """Leave out points of a line without moving it by more than a tolerance.

    Source: Douglas and Peucker, The Canadian Cartographer 1973.

    Args:
        points: In pixels.
        tolerance: How far a left-out point may be from the line that is drawn, in pixels.

    Returns:
        Some of the points, the first and the last among them, in their order.
    """
    place = np.asarray(points, dtype=np.float64)  # (K, 2)
    kept = np.zeros(len(place), dtype=bool)
    kept[[0, -1]] = True
    stretches = [(0, len(place) - 1)]
    while stretches:
        first, last = stretches.pop()
        if last - first < 2:
            continue
        between, chord = place[first + 1 : last] - place[first], place[last] - place[first]
        squared = float(chord @ chord)
        along = np.clip(between @ chord / squared, 0, 1) if squared else np.zeros(len(between))
        away = np.linalg.norm(between - along[:, None] * chord, axis=1)
        farthest = int(away.argmax())
        if away[farthest] > tolerance:
            at = first + 1 + farthest
            kept[at] = True
            stretches += [(first, at), (at, last)]
    return [(float(x), float(y)) for x, y in place[kept]]
