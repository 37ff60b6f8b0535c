"""The content-addressed store: one folder per finished stage, named by its fingerprint.

    <root>/<kind>/<fingerprint>/            a finished stage; its manifest.json is written last
    <root>/<kind>/<fingerprint>.partial/    work in progress, which survives a kill
    <root>/<kind>/<fingerprint>.lock        held by the process working on it

A stage is complete if and only if its manifest exists. A finished stage contains no pickle.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from eagbench.config.folders import default_root
from eagbench.contracts.stages import StageNode
from eagbench.errors import UserError
from eagbench.execution.stage_files import MANIFEST, file_hash, manifest_text
from eagbench.execution.whole_files import write_text


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of finished stages, shared by all runs."""

    root: Path

    @classmethod
    def open(cls, root: Path | None = None) -> Store:
        """Open the store, making its folder if need be.

        Raises:
            UserError: The folder can't be written.
        """
        folder = (root or default_root()).absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"the store can't be made: {error.strerror}",
                where=str(folder),
                hint="set EAGBENCH_STORE to a folder that you can write",
            ) from error
        if not os.access(folder, os.W_OK):
            raise UserError(
                "the store can't be written",
                where=str(folder),
                hint="set EAGBENCH_STORE to a folder that you can write",
            )
        return cls(folder)

    def folder(self, node: StageNode) -> Path:
        """Return the folder of the finished stage, whether or not it exists yet."""
        return self.root / node.kind / node.fingerprint

    def partial(self, node: StageNode) -> Path:
        """Return the folder of the stage's work in progress."""
        return self.root / node.kind / f"{node.fingerprint}.partial"

    def is_complete(self, node: StageNode) -> bool:
        """Say whether the stage is finished."""
        return (self.folder(node) / MANIFEST).is_file()

    def manifest(self, node: StageNode) -> dict[str, Any]:
        """Return the finished stage's manifest."""
        manifest: dict[str, Any] = json.loads((self.folder(node) / MANIFEST).read_text())
        return manifest

    @contextlib.contextmanager
    def lock(self, node: StageNode) -> Iterator[None]:
        """Lock the stage, so that two processes never work on the same one; the second waits for the first."""
        path = self.root / node.kind / f"{node.fingerprint}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        # The operating system releases this lock when its holder dies, so a kill leaves nothing to clean up.
        with FileLock(path):
            yield

    def begin(self, node: StageNode, *, anew: bool) -> Path:
        """Return the folder to work in, with the files of an interrupted attempt unless `anew`."""
        partial = self.partial(node)
        if anew:
            shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        return partial

    def discard(self, node: StageNode) -> None:
        """Remove work in progress that must not be resumed."""
        shutil.rmtree(self.partial(node), ignore_errors=True)

    def commit(self, node: StageNode, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Finish a stage: remove its checkpoints, give the folder its final name, and write the manifest last."""
        partial, folder = self.partial(node), self.folder(node)
        shutil.rmtree(partial / "checkpoints", ignore_errors=True)
        files = sorted(p for p in partial.rglob("*") if p.is_file())
        manifest = {
            "fingerprint": node.fingerprint,
            "kind": node.kind,
            "label": node.label,
            "function": node.function,
            "params": dict(node.params),
            "inputs": {name: value.identity() for name, value in node.inputs.items()},
            "seed": node.seed,
            "code": node.code,
            "component": None if node.component is None else node.component.identity(),
            "content": node.content,
            "files": {p.relative_to(partial).as_posix(): file_hash(p) for p in files},
            **facts,
        }
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        write_text(folder / MANIFEST, manifest_text(manifest))
        return manifest

    def seconds_of(self, kind: str, label: str) -> float | None:
        """Return how long the last stage of this kind and label took here, to estimate the next one."""
        newest: tuple[float, float] | None = None
        for path in (self.root / kind).glob(f"*/{MANIFEST}"):
            manifest = json.loads(path.read_text())
            if manifest["label"] == label and (newest is None or path.stat().st_mtime > newest[0]):
                newest = (path.stat().st_mtime, float(manifest["seconds"]))
        return None if newest is None else newest[1]

    def content_hash(self, files: list[Path]) -> str:
        """Hash the content of files, remembering each file's own hash by path, size and mtime."""
        digest = hashlib.sha256()
        for file in sorted(files):
            stat = file.stat()
            key = hashlib.sha256(f"{file.absolute()}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()
            cached = self.root / "content" / key[:2] / key
            if cached.is_file():
                value = cached.read_text()
            else:
                value = file_hash(file)
                cached.parent.mkdir(parents=True, exist_ok=True)
                write_text(cached, value)
            # The name counts but its folder does not: moved data is the same data.
            digest.update(f"{file.name}:{value}\n".encode())
        return digest.hexdigest()
