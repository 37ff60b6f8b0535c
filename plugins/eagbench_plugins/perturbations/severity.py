"""Checks that a severity makes sense as a share, an amount or a count."""

from __future__ import annotations

import math


def check_share(severity: float) -> None:
    """Raise `ValueError` unless the severity is a share from 0 to 1."""
    if not 0.0 <= severity <= 1.0:
        raise ValueError(f"severity {severity} is not a share: it must be between 0 and 1")


def check_amount(severity: float, unit: str) -> None:
    """Raise `ValueError` unless the severity is a finite amount that is not negative."""
    if not (math.isfinite(severity) and severity >= 0.0):
        raise ValueError(f"severity {severity} is not a number of {unit}: it must be 0 or more")


def check_number(severity: float, largest: int) -> None:
    """Raise `ValueError` unless the severity is a whole number from 0 to `largest`."""
    if not (math.isfinite(severity) and 0 <= severity <= largest and severity == int(severity)):
        raise ValueError(f"severity {severity} is not a whole number between 0 and {largest}")
