"""The files of a finished stage and its manifest, which says what they have to be.

    manifest.json    `format`, what determined the stage, its costs, and the SHA-256 of each other file

A manifest of format 1 (without `format`) lacks its own hash, `manifest_sha256`; its files are checked all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eagbench.contracts.stages import content_hash
from eagbench.errors import UserError
from eagbench.execution.json_text import lines_of
from eagbench.execution.newer_formats import refuse_newer
from eagbench.execution.store_format import FORMAT

MANIFEST = "manifest.json"

_OWN_HASH = "manifest_sha256"
_IDENTITY = ("kind", "function", "params", "inputs", "seed", "code", "component", "content")
_IDENTITY_WHERE_GIVEN = ("threads",)  # stages that compute nothing have none, and earlier ones neither
# What file managers and network file systems leave beside files when somebody looks at them.
_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_LITTER_BEGINS = ("._", ".nfs")


class DamagedManifest(Exception):
    """A manifest does not say what a finished stage has to be; the message says why, after its name."""


def damaged_files(folder: Path) -> tuple[str, ...]:
    """Hash a finished stage's files, and compare them with its manifest.

    Args:
        folder: The stage's folder, named by its fingerprint. Its manifest exists.

    Returns:
        What is damaged, one entry per file ("model.txt was changed"), by name; nothing if the stage is whole.

    Raises:
        UserError: A newer eagbench wrote the stage, or this user may not read it.
    """
    try:
        expected = read_manifest(folder)["files"]
    except DamagedManifest as error:
        return (f"{MANIFEST} {error}",)
    found = set(file_names(folder)) - {MANIFEST}
    compared = {name: _problem(folder / name, expected.get(name)) for name in sorted(found | set(expected))}
    return tuple(f"{name} {problem}" for name, problem in compared.items() if problem)


def _problem(path: Path, expected: str | None) -> str | None:
    """Say what is wrong with a file, given its hash; None for a file that the manifest does not name."""
    if expected is None:
        return "is not the stage's"
    try:
        with _readable(path):
            return None if file_hash(path) == expected else "was changed"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:  # by a broken disk, or what was a file is something else now
        return f"can't be read: {error.strerror}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a finished stage.

    Raises:
        DamagedManifest: It is missing, cut off or changed, or it is another stage's.
        UserError: A newer eagbench wrote it.
    """
    try:
        with _readable(folder / MANIFEST):
            text = (folder / MANIFEST).read_bytes()
        manifest = json.loads(text)
        own = manifest.pop(_OWN_HASH, None)
        is_as_written = own is None or own == content_hash(manifest)  # in any later format, too
    except FileNotFoundError as error:
        raise DamagedManifest("is missing") from error
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedManifest("is not whole") from error
    if not is_as_written:
        raise DamagedManifest("was changed")
    refuse_newer(manifest, FORMAT, f"the stage {folder.name[:12]} in the store", folder / MANIFEST)
    missing = [key for key in (*_IDENTITY, "label", "files", "seconds") if key not in manifest]
    if "format" in manifest and own is None:
        missing.append(_OWN_HASH)
    if missing:
        raise DamagedManifest(f"lacks {', '.join(missing)}")
    identity = {key: manifest[key] for key in (*_IDENTITY, *_IDENTITY_WHERE_GIVEN) if key in manifest}
    if content_hash(identity) != folder.name:
        raise DamagedManifest("is not the stage's")
    if not isinstance(manifest["files"], dict):
        raise DamagedManifest("was changed")
    return dict(manifest)


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """Format a stage's manifest as JSON, with its format and its own hash."""
    # As a reader will see it: tuples are lists there.
    written = json.loads(json.dumps({"format": FORMAT, **manifest}))
    return lines_of({**written, _OWN_HASH: content_hash(written)}, sort_keys=True)


def file_names(folder: Path) -> Iterator[str]:
    """Yield the files below a folder, by their path in it; not what file managers left there."""
    return (name for name, _ in files_below(folder))


def files_below(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the same files with what the operating system says of each."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        place = f"{folder}/{below}"
        with _readable(place), os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{below}{entry.name}/")
                elif entry.is_file() and not _is_litter(entry.name):
                    yield f"{below}{entry.name}", entry


@contextlib.contextmanager
def _readable(path: Path | str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise UserError(
            "this part of the store can't be read", where=str(path), hint="ask whose it is to let you read it"
        ) from error


def _is_litter(name: str) -> bool:
    return name in _LITTER or name.startswith(_LITTER_BEGINS)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
