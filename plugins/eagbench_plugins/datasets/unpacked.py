"""The bytes of a file, unpacked if it is gzipped, within a bound."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from eagbench.api import UserError

# A gzipped table that is read as a whole: a thousand characters for each of 500,000 stays.
LARGEST_UNPACKED = 512 * 2**20
# A line of a table: longer ones are no rows.
LONGEST_LINE = 16 * 2**20
_GZIP = b"\x1f\x8b"
# Polars unpacks what begins so, again and without a bound.
_PACKED = (_GZIP, b"x\x01", b"x\x9c", b"x\xda", b"\x28\xb5\x2f\xfd")
# Spreadsheets save so as "Unicode text". Read as UTF-8, it is a table whose first column has a strange name.
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_ZIP = b"PK\x03\x04"  # so does an Excel workbook begin, whatever its name ends in


def unpacked(path: Path, hint: str) -> bytes | Path:
    """Return what `polars.read_csv` may read: the path of a plain file, the bytes of a gzipped one.

    Raises:
        UserError: It can't be unpacked, holds more than `LARGEST_UNPACKED`, or doesn't begin as text.
    """
    try:
        with path.open("rb") as raw:
            if raw.read(len(_GZIP)) != _GZIP:
                raw.seek(0)
                check_begins_as_text(raw.read(4), path, hint)
                return path
        with gzip.open(path) as stream:
            content = stream.read(LARGEST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"can't be read ({error})", where=str(path), hint=hint) from error
    if len(content) > LARGEST_UNPACKED:
        raise UserError(f"holds more than {LARGEST_UNPACKED:,} bytes when unpacked", where=str(path), hint=hint)
    check_begins_as_text(content[:4], path, hint)
    return content


def check_begins_as_text(beginning: bytes, path: Path, hint: str) -> None:
    """Check that a table begins as text in UTF-8.

    Args:
        beginning: Its first four bytes.
        path: The file, for the message.
        hint: What it should be, for the message.

    Raises:
        UserError: It is packed, a workbook, or text in UTF-16.
    """
    what = None
    if beginning.startswith(_PACKED):
        what = "is packed in a way that is not read here: leave it plain, or gzip it once (.gz)"
    elif beginning.startswith(_ZIP):
        what = "is a zip archive or an Excel workbook: unpack it, or save the sheet as CSV in UTF-8"
    elif beginning.startswith(_UTF_16) or b"\0" in beginning:
        what = "is text in UTF-16, or no text: save it as CSV in UTF-8"
    if what is not None:
        raise UserError(what, where=str(path), hint=hint)
