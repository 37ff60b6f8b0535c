"""Severities that are a share."""

from __future__ import annotations


def check_share(severity: float) -> None:
    """Raises `ValueError` unless the severity is a share from 0 to 1."""
    if not 0.0 <= severity <= 1.0:
        raise ValueError(f"severity {severity} is not a share: it must be between 0 and 1")
