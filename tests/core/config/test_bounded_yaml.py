"""YAML that would fill the memory, or is not what it seems: an input error with its place, in little memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eagbench.config.bounded_yaml import MAX_CHARACTERS, MAX_DEPTH, read_yaml_file, read_yaml_value
from eagbench.config.loading import load_benchmark
from eagbench.config.yaml_source import Source, apply_set, read_yaml
from eagbench.errors import UserError
from tests.conftest import Finished

Command = Callable[..., Finished]


def write(folder: Path, text: str, name: str = "b.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def lists_of_aliases(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


def merges_of_merges(levels: int) -> str:
    lines = ["a0: &a0 {k0: 1, k1: 2, k2: 3, k3: 4, k4: 5}"]
    lines += [
        f"a{i}: &a{i} {{p: {{<<: *a{i - 1}}}, q: {{<<: *a{i - 1}}}, r: *a{i - 1}, s: *a{i - 1}}}"
        for i in range(1, levels)
    ]
    return "\n".join(lines)


BOMBS = {
    "aliases of aliases": (lists_of_aliases(9), r"b\.yaml:5: the YAML stands for more than 100,000 values"),
    "merged mappings": (merges_of_merges(30), r"b\.yaml:\d+: the YAML stands for more than 100,000 values"),
    "many values": ("a: [" + "1, " * 150_000 + "1]", r"b\.yaml:1: the YAML stands for more than 100,000 values"),
    "much text": ("a: " + "x" * MAX_CHARACTERS, r"b\.yaml: the YAML has more than 2,000,000 characters"),
    "brackets": ("a: " + "[" * 100_000, rf"b\.yaml:1: the YAML is nested deeper than {MAX_DEPTH} levels"),
    "braces": ("a: " + "{a: " * 100_000, rf"b\.yaml:1: the YAML is nested deeper than {MAX_DEPTH} levels"),
    "dashes": ("- " * 10_000, rf"b\.yaml:1: the YAML is nested deeper than {MAX_DEPTH} levels"),
    "keys of keys": ("? " * 10_000, rf"b\.yaml:1: the YAML is nested deeper than {MAX_DEPTH} levels"),
    "a tower of aliases": (
        "\n".join(["a0: &a0 x", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 200))]),
        rf"b\.yaml:\d+: the YAML is nested deeper than {MAX_DEPTH} levels",
    ),
    "an anchor in itself": ("a: 1\nb: &b\n  c: [*b]", r"b\.yaml:3: the anchor 'b' stands for itself"),
    "a merge into itself": ("a: &a {<<: *a}", r"b\.yaml:1: the anchor 'a' stands for itself"),
    "a number of 5,000 digits": ("a: 1\nb: " + "9" * 5_000, r"b\.yaml:2: the number 9{40}\.\.\. .* too many digits"),
    "hexadecimal": ("a: 0x" + "f" * 5_000, "too many digits"),
    "64 bits": (f"a: {2**63}", "too many digits"),
    "1e999": ("a: 1.0e+999", r"b\.yaml:1: 1\.0e\+999 is not a finite number"),
    "infinite": ("a: -.inf", "not a finite number"),
    "not a number": ("a: .nan", "not a finite number"),
    "base 60": ("a: 1:30", "1:30 is a number to base 60 in YAML"),
    "base 60 with a fraction": ("a: 1:30.5", "is a number to base 60 in YAML"),
    "much of base 60": ("a: 1" + ":1" * 100_000, "is a number to base 60 in YAML"),
    "base 8": ("a: 010", "010 is a number to base 8 in YAML"),
    "an int that is none": ("a: !!int x", "'x' is no int"),
    "a bool that is none": ("a: !!bool maybe", "'maybe' is no bool"),
    "a float that is none": ("a: !!float ''", "is no float"),
    "python": ("a: !!python/object/apply:os.system [ls]", "the tag '.*os.system' is not read"),
    "python as a mapping": ("a: !!python/object:os.x {b: 1}", "the tag '.*python/object:os.x' is not read"),
    "a set": ("a: !!set {b, c}", "the tag '.*set' is not read"),
    "a timestamp": ("a: !!timestamp 2001-99-99", "the tag '.*timestamp' is not read"),
    "bytes": ("a: !!binary aGVsbG8=", "the tag '.*binary' is not read"),
    "a NUL": ("a: b\0c", "this is not YAML"),
    "an escaped NUL": ('a: "b\\0c"', "holds a NUL or half a character"),
    "half a character": ('a: "\\ud800"', "holds a NUL or half a character"),
    "no character": ('a: "\\UFFFFFFFF"', "this is not YAML"),
    "a control character": ("a: b\x07c", "this is not YAML"),
    "a long key": ("k" * 1_001 + ": 1", "the key 'k+... .1,001 characters.' is too long|this is not YAML"),
    "a long key in quotes": ("? '" + "k" * 2_000 + "'\n: 1", "the key 'k+... .2,000 characters.' is too long"),
    "the same anchor twice": ("a: &a 1\nb: &a 2\nc: *b", "this is not YAML"),
    "two documents": ("a: 1\n---\nb: 2", "this is not YAML"),
    "a directive": ("%YAML 9.9\n---\na: 1", "this is not YAML"),
}
# What keeps its tens of MB for itself: far less than any of these would take.
CHILD = """
import resource, sys
from pathlib import Path
from eagbench.config.loading import load_benchmark
from eagbench.errors import UserError
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
for path in sys.argv[1:]:
    try:
        load_benchmark(Path(path))
    except UserError:
        continue
    sys.exit(f"{path} was read")
print((peak() - before) // 1024)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_it_is_an_input_error_with_its_place(name: str, tmp_path: Path) -> None:
    text, message = BOMBS[name]
    with pytest.raises(UserError, match=message) as caught:
        read_yaml(write(tmp_path, text))
    assert len(caught.value.message) < 500


def test_memory_stays_within_a_small_bound(tmp_path: Path) -> None:
    paths = [write(tmp_path, text, f"{i}.yaml") for i, (text, _) in enumerate(BOMBS.values())]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, paths)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400  # MB; the aliases alone took 1.5 GB and rose


def test_the_command_line_exits_with_2(tmp_path: Path, cli: Command) -> None:
    for command in ("plan", "sweep"):
        done = cli(command, write(tmp_path, lists_of_aliases(9)))
        assert done.code == 2
        assert "stands for more than" in done.err
        assert "Traceback" not in done.err


def test_what_files_extend_counts_together(tmp_path: Path) -> None:
    write(tmp_path, "a: [" + "1, " * 60_000 + "1]", "big.yaml")
    with pytest.raises(UserError, match="stands for more than"):
        read_yaml(write(tmp_path, "extends: [big.yaml, big.yaml]"))
    write(tmp_path, "a: 1", "20.yaml")
    for i in range(20):
        write(tmp_path, f"extends: [{i + 1}.yaml, {i + 1}.yaml]\n", f"{i}.yaml")
    with pytest.raises(UserError, match="extends more than 100 files"):
        read_yaml(tmp_path / "0.yaml")


@pytest.mark.parametrize("name", ["x" * 300, "no\\0name", "."])
def test_a_file_that_can_not_be_extended(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        read_yaml(write(tmp_path, f'extends: ["{name}"]'))


def test_a_device_without_end_is_refused() -> None:
    with pytest.raises(UserError, match="more than 2,000,000 characters"):
        read_yaml(Path("/dev/zero"))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes("name: é".encode("utf-16"))
    with pytest.raises(UserError, match="not UTF-8"):
        read_yaml(tmp_path / "b.yaml")


def test_values_as_the_rest_of_eagbench_wants_them(tmp_path: Path) -> None:
    text = (
        "day: 2020-01-31\ntime: 2020-01-31 10:00:00\nno: no\nyes: on\nhex: 0x1F\nbits: 0b11\nthousand: 1_000\n"
        "negative: -5\nzero: 0\nreal: 1.5e+3\npoint: .5\nnothing: ~\nempty:\nquoted: '010'\nequals: =\n"
        "folded: >\n  a\n  b\n"
    )
    assert read_yaml(write(tmp_path, text)).tree == {
        "day": "2020-01-31",
        "time": "2020-01-31 10:00:00",
        "no": False,
        "yes": True,
        "hex": 31,
        "bits": 3,
        "thousand": 1000,
        "negative": -5,
        "zero": 0,
        "real": 1500.0,
        "point": 0.5,
        "nothing": None,
        "empty": None,
        "quoted": "010",
        "equals": "=",
        "folded": "a b\n",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9" * 5_000, "too many digits"),
        ("[" * 5_000, "nested deeper"),
        ("1:30", "base 60"),
        ("{a: 1, a: 2}", "appears here twice"),
        ("&a [*a]", "stands for itself"),
        ("!!python/name:os.system", "is not read"),
        ("2\0", "NUL"),
        ("\ud800", "half a character"),
        ("*a", "undefined alias"),
        ("{<<: {a: 1}}", "in a benchmark's file only"),
    ],
)
def test_a_value_of_set(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        apply_set(Source(), f"a={text}")
    assert caught.value.where is not None
    assert caught.value.where.startswith("--set a=")


@pytest.mark.parametrize("segment", ["²", "9" * 5_000, "٣", "", "-1"])
def test_an_item_that_is_not_there(segment: str) -> None:
    with pytest.raises(UserError, match="no item here"):
        apply_set(Source(tree={"methods": ["lightgbm"]}), f"methods.{segment}.x=1")


def test_a_variable_with_a_bomb_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGBENCH_TEST_ROOT", "[" * 5_000)
    with pytest.raises(UserError, match=r"b\.yaml:2: the YAML is nested deeper"):
        read_yaml(write(tmp_path, "name: b\nroot: ${EAGBENCH_TEST_ROOT}"))


def test_places_survive_a_large_file(tmp_path: Path) -> None:
    """Reading takes time in proportion to the file: each key of this one was compared with all others."""
    n = 20_000
    path = write(tmp_path, "".join(f"k{i}: {i}\n" for i in range(n)))
    source = read_yaml(path)
    assert len(source.tree) == n
    assert source.place(("k19999",)) == f"{path}:20000"


def test_a_plain_file_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1\nb: {c: [1, 2], d: 2020-01-01}\n")
    assert read_yaml_file(path) == {"a": 1, "b": {"c": [1, 2], "d": "2020-01-01"}}
    with pytest.raises(UserError, match=r"b\.yaml:2: 1:30 is a number to base 60"):
        read_yaml_file(write(tmp_path, "a: 1\nb: 1:30\n"))
    assert read_yaml_value("", "here") is None


GOOD = """\
name: small
data: {name: tjh, root: x}
split: {train: 0.7, tuning: 0.1, held_out: 0.2}
methods: [{name: lightgbm, as: one}]
metrics: [auroc]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: small", f"name: {'x' * 101}", "letters, digits"),
        ("as: one", f"as: {'x' * 101}", "letters, digits"),
        ("metrics", "seeds: [4294967296]\nmetrics", "seeds are at most"),
        ("metrics", f"seeds: [{', '.join(map(str, [*range(20_000), 1]))}]\nmetrics", "stands here more than once"),
        ("metrics", f"description: [{', '.join(['long'] * 5_000)}]\nmetrics", "'description'"),
        ("metrics", "split2: 1\nmetrics", "unknown key"),
        ("metrics", "split[: 1\nmetrics", r"unknown key 'split\['"),
        ("held_out: 0.2}", "held_out: 0.2, 'folds[x]': 1}", r"unknown key 'split\.folds\[x\]'"),
    ],
)
def test_a_benchmark_out_of_bounds(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_benchmark(write(tmp_path, GOOD.replace(old, new)))
    assert len(caught.value.message) < 1_000
