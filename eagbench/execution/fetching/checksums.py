"""The lists of SHA-256 that origins publish."""

from __future__ import annotations

import re
from pathlib import Path

from eagbench.errors import UserError

_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(\S.*)")
_MOST_BYTES = 8 * 2**20


def read_checksums(path: Path) -> dict[str, str]:
    """Read the SHA-256 of each path in a list in the form of `sha256sum`. Other lines are not read.

    Raises:
        UserError: It isn't such a list.
    """
    hint = "what was sent may be a page about an error or a login; open the address in a browser"
    if path.stat().st_size > _MOST_BYTES:
        raise UserError("this is no list of checksums: it is too long", where=str(path), hint=hint)
    text = path.read_text(encoding="utf-8", errors="replace")
    found = [match for line in text.splitlines() if (match := _LINE.fullmatch(line.strip()))]
    if not found:
        raise UserError("this is no list of checksums", where=str(path), hint=hint)
    return {match[2]: match[1].lower() for match in found}
