"""A file that is under way: its bytes so far, and how to ask whether the origin still has the same file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

from eagbench.execution.durable import sync
from eagbench.execution.whole_files import replace_text


class Partial:
    """The part of a file that is here, beside its place.

    Args:
        place: Where the whole file belongs.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.file = place.with_name(f".{place.name}.partial")
        self._note = place.with_name(f".{place.name}.partial-of")

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.file.stat().st_size if self.file.is_file() else 0

    def validator(self, url: str) -> str:
        """Return what `url` called the version of the file when it began; empty if it said nothing."""
        try:
            told = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or cut off: the hash at the end decides
            return ""
        return str(told.get("validator", "")) if told.get("url") == url else ""

    def begin(self, url: str, validator: str) -> None:
        """Note what the bytes that follow are a part of."""
        replace_text(self._note, json.dumps({"url": url, "validator": validator}) + "\n")

    def open(self) -> BinaryIO:
        """Open it, to write behind what is here."""
        return self.file.open("ab")

    def drop(self) -> None:
        """Remove what is here."""
        self.file.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the whole file its name, so that a reader sees nothing or all of it, also after a power cut."""
        sync(self.file)
        self.file.replace(self.place)
        self._note.unlink(missing_ok=True)
        sync(self.place.parent)
