"""The cache of facts about files: what it forgets, and what two processes leave in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from eagbench.registry.kept import Kept


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: folder)
    return folder


def a_file(path: Path) -> str:
    path.write_text("text")
    os.utime(path, (1e9, 1e9))  # long ago, but its inode changed now
    return str(path)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eagbench.registry.kept._SETTLED_SECONDS", -1)


def written(cache: Path) -> dict[str, object]:
    return dict(json.loads(next(cache.glob("code-*.json")).read_text()))


def test_two_processes_keep_what_both_found(tmp_path: Path, cache: Path) -> None:
    file = a_file(tmp_path / "a.py")
    one, other = Kept("code"), Kept("code")
    one.put("one", [file], 1)
    one.save()
    other.put("other", [file], 2)
    other.save()
    assert set(written(cache)) == {"one", "other"}
    assert Kept("code").get("one") == 1


def test_facts_about_files_that_are_gone_are_forgotten(tmp_path: Path, cache: Path) -> None:
    """Else every checkout that ever was makes each later command slower."""
    gone, stays = a_file(tmp_path / "gone.py"), a_file(tmp_path / "stays.py")
    kept = Kept("code")
    kept.put("of both", [gone, stays], 1)
    kept.put("of one", [stays], 2)
    kept.save()
    Path(gone).unlink()
    later = Kept("code")
    later.put("new", [stays], 3)
    later.save()
    assert set(written(cache)) == {"of one", "new"}


def test_a_file_that_never_was_is_part_of_a_fact(tmp_path: Path, cache: Path) -> None:
    stays, absent = a_file(tmp_path / "stays.py"), str(tmp_path / "absent.py")
    kept = Kept("code")
    kept.put("of an absent file", [stays, absent], 1)
    kept.save()
    assert set(written(cache)) == {"of an absent file"}
    assert Kept("code").get("of an absent file") == 1
    a_file(Path(absent))
    assert Kept("code").get("of an absent file") is None


def test_nothing_new_writes_nothing(tmp_path: Path, cache: Path) -> None:
    kept = Kept("code")
    kept.put("fact", [a_file(tmp_path / "a.py")], 1)
    kept.save()
    path = next(cache.glob("code-*.json"))
    before = path.stat().st_ino
    kept.save()
    Kept("code").save()
    assert path.stat().st_ino == before


@pytest.mark.parametrize(
    "before", ['{"installed": "x", "components": [], "places": [["a", "b"]]}', "[1]", "{", '{"a": [1, 2]}']
)
def test_a_file_of_an_earlier_version_is_replaced(tmp_path: Path, cache: Path, before: str) -> None:
    kept = Kept("code")
    kept.put("fact", [a_file(tmp_path / "a.py")], 1)
    kept.save()
    path = next(cache.glob("code-*.json"))
    path.write_text(before)
    later = Kept("code")
    assert all(later.get(name) is None for name in ("installed", "components", "places", "a"))
    later.put("new", [str(tmp_path / "a.py")], 2)
    later.save()
    assert set(written(cache)) == {"new"}
