"""Names the files that a desktop system leaves beside data, and that are not data."""

from __future__ import annotations

from pathlib import PurePath

# Folders that macOS' archiver and old versions of tar add.
_FOLDERS = ("__MACOSX", "PaxHeader")


def is_passed_over(path: str | PurePath) -> bool:
    """Tell whether a path below the data's root is hidden, or belongs to an archiver.

    macOS writes `._name` beside `name` when it copies to a foreign disk or packs a tar: the file's attributes, in
    binary, under the ending of the data.
    """
    parts = PurePath(path).parts
    return any(part.startswith((".", *_FOLDERS)) and part not in (".", "..") for part in parts)
