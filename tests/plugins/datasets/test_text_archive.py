"""Archives and packed files of absurd size, with links or twisted names: refused before they are read."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest

from eagbench.errors import UserError
from eagbench_plugins.datasets import unpacked as unpacked_module
from eagbench_plugins.datasets.csv_header import csv_header
from eagbench_plugins.datasets.csv_text import read_csv_text
from eagbench_plugins.datasets.long_csv.blocks import blocks
from eagbench_plugins.datasets.text_archive import Budget, texts_of

BUDGET = Budget(members=5, member_bytes=1_000, total_bytes=20_000)
READS = """
import resource, sys
from pathlib import Path
from eagbench.errors import UserError
from eagbench_plugins.datasets.text_archive import Budget, texts_of
from eagbench_plugins.datasets.csv_text import read_csv_text
from eagbench_plugins.datasets.csv_header import csv_header
from eagbench_plugins.datasets.long_csv.blocks import blocks
import polars
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
path = Path(sys.argv[1])
try:
    {read}
except (UserError, OSError) as error:
    print((peak() - before) // 1024)
else:
    sys.exit("it was read")
"""


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def packed(folder: Path, *members: tarfile.TarInfo) -> Path:
    path = folder / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)
    return path


def read(path: Path) -> list[tuple[str, bytes | None]]:
    return list(texts_of(path, BUDGET, "Fetch it again."))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member("a.txt", kind=tarfile.SYMTYPE, link="/etc/passwd")], "holds a link, 'a.txt'"),
        ([member("a.txt", 3), member("b.txt", kind=tarfile.LNKTYPE, link="a.txt")], "holds a link, 'b.txt'"),
        ([member("a", kind=tarfile.CHRTYPE)], "'a', which is no plain file"),
        ([member("a", kind=tarfile.FIFOTYPE)], "'a', which is no plain file"),
        ([member("/etc/a.txt", 3)], "names a place outside of itself, '/etc/a.txt'"),
        ([member("a/../../b.txt", 3)], "names a place outside of itself"),
        ([member("a.txt", 3), member("a.txt", 4)], "holds 'a.txt' twice"),
        ([member("a.txt", 1_001)], "'a.txt' in the archive has 1,001 bytes, more than 1,000"),
        ([member(f"{i}.txt") for i in range(6)], "holds more than 5 files"),
        ([member("n" * 12_000 + ".txt", 3)], "a header of more than 1,000 bytes when unpacked"),
    ],
)
def test_what_is_refused_by_its_header(members: list[tarfile.TarInfo], message: str, tmp_path: Path) -> None:
    path = packed(tmp_path, *members)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert caught.value.where == str(path)


def test_the_sum_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, *(member(f"{i}.txt", 900) for i in range(4)))
    small = Budget(members=5, member_bytes=1_000, total_bytes=3_000)
    with pytest.raises(UserError, match="holds more than 3,000 bytes when unpacked"):
        list(texts_of(path, small, ""))


def test_what_is_read(tmp_path: Path) -> None:
    path = packed(tmp_path, member("d", kind=tarfile.DIRTYPE), member("d/a.txt", 3), member("d/._a.txt", 2))
    assert read(path) == [("d/a.txt", b"xxx"), ("d/._a.txt", None)]


def test_a_file_that_ends_too_early(tmp_path: Path) -> None:
    raw = gzip.decompress(packed(tmp_path, member("a.txt", 900)).read_bytes())
    for end in (100, 512, 700, 1_000):
        path = tmp_path / "cut.tar.gz"
        path.write_bytes(gzip.compress(raw[:end]))
        with pytest.raises(UserError):
            read(path)


def bomb(folder: Path, first: bytes, megabytes: int) -> Path:
    """A gzip of much more than it takes on disk."""
    path = folder / "bomb.csv.gz"
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(first)
        for _ in range(megabytes):
            stream.write(b"1" * 2**20)
    return path


def pax_header(size: int) -> bytes:
    return member("pax", size, tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT)


TABLE = "a table"
BOMBS = {
    "a member": (
        member("a.txt", 2**31).tobuf(tarfile.GNU_FORMAT),
        'list(texts_of(path, Budget(9, 2**20, 2**27), ""))',
    ),
    "another member": (
        member("a.bin", 2**31).tobuf(tarfile.GNU_FORMAT),
        'list(texts_of(path, Budget(9, 2**20, 2**27), ""))',
    ),
    "a PAX header": (pax_header(2**31), 'list(texts_of(path, Budget(9, 2**20, 2**27), ""))'),
    TABLE: (b"a,b\n", 'read_csv_text(path, ["a"], hint="")'),
    "a line": (b"a,b\n", "list(blocks(path))"),
}


@pytest.mark.parametrize(
    "name", [*(name for name in BOMBS if name != TABLE), pytest.param(TABLE, marks=pytest.mark.slow)]
)
def test_a_bomb_takes_little_memory(name: str, tmp_path: Path) -> None:
    first, how = BOMBS[name]
    path = bomb(tmp_path, first, 600 if name == TABLE else 200)
    done = subprocess.run(
        [sys.executable, "-c", READS.format(read=how), str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    # A table is held as a whole up to its bound; nothing else is.
    assert int(done.stdout) < (900 if name == TABLE else 100)


def test_a_header_without_end_is_cut(tmp_path: Path) -> None:
    fields = csv_header(bomb(tmp_path, b"a," * 2**19, 3))
    assert len(fields) == 2**19 + 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n".encode("utf-16-le"), "is text in UTF-16, or no text: save it as CSV in UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "is text in UTF-16, or no text: save it as CSV in UTF-8"),
        (b"\xfe\xff" + "a,b\n1,2\n".encode("utf-16-be"), "is text in UTF-16, or no text: save it as CSV in UTF-8"),
        (b"PK\x03\x04" + bytes(20), "is a zip archive or an Excel workbook"),
    ],
)
def test_a_table_that_is_no_text_in_utf_8(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_csv_text(path, ["a"], hint="")
    with pytest.raises(UserError, match=message):
        list(blocks(path))


def test_a_table_packed_twice_or_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"a,b\n1,2\n"
    zstd = tmp_path / "zstd.csv"
    zstd.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    for name, content in (("twice.csv.gz", gzip.compress(gzip.compress(text))), ("z.csv", zlib.compress(text))):
        (tmp_path / name).write_bytes(content)
    for path in (tmp_path / "twice.csv.gz", tmp_path / "z.csv", zstd):
        with pytest.raises(UserError, match="packed in a way that is not read"):
            read_csv_text(path, ["a"], hint="")
        with pytest.raises(UserError, match="packed in a way that is not read"):
            list(blocks(path))
    path = tmp_path / "once.csv.gz"
    path.write_bytes(gzip.compress(text))
    assert read_csv_text(path, ["a"], hint="").rows["a"].to_list() == ["1"]
    monkeypatch.setattr(unpacked_module, "LARGEST_UNPACKED", 5)
    with pytest.raises(UserError, match="holds more than 5 bytes when unpacked"):
        read_csv_text(path, ["a"], hint="")
