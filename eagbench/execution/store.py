"""The content-addressed store: one folder per finished stage, named by its fingerprint.

    <root>/store.json                         the format of the store
    <root>/<kind>/<fingerprint>/              a finished stage; its manifest.json is written last
    <root>/<kind>/<fingerprint>.checked       when its files were checked (`stage_checks`)
    <root>/<kind>/<fingerprint>.partial/      work in progress, which survives a kill
    <root>/<kind>/<fingerprint>.lease         held by the process working on it (`lease`)
    <root>/<kind>/<fingerprint>.damaged-1/    what it was when a file turned out to be damaged

Work in progress is in another folder, `<fingerprint>.partial-...`, where a process took over from one that had stopped.
A stage is complete if and only if its manifest exists. A finished stage contains no pickle. What a manifest vouches for
is on the disk before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import eagbench
from eagbench.config.folders import default_root
from eagbench.contracts.stages import StageNode
from eagbench.errors import UserError
from eagbench.execution import lease
from eagbench.execution.durable import sync, sync_all, tree
from eagbench.execution.stage_checks import damage, forget, note, record_of, stamps_of
from eagbench.execution.stage_files import MANIFEST, file_hash, manifest_text
from eagbench.execution.store_format import FORMAT, read_format, write_format
from eagbench.execution.whole_files import replace_text
from eagbench.registry.kept import stamp

_NEW_MANIFEST = "manifest.json.new"  # in a folder that does not have its final name yet
_NAMED_FILES = 3  # of a damaged stage, in a message
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of finished stages, shared by all runs."""

    root: Path

    @classmethod
    def open(cls, root: Path | None = None) -> Store:
        """Open the store, making its folder if need be.

        Raises:
            UserError: The folder can't be written, or a newer eagbench made it.
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
        if read_format(folder) != FORMAT:
            write_format(folder)
        forget()
        return cls(folder)

    @classmethod
    def existing(cls, root: Path | None = None) -> Store:
        """Open a store to read it only: nothing is made or written.

        Raises:
            UserError: There is none, or a newer eagbench made it.
        """
        folder = (root or default_root()).absolute()
        if not folder.is_dir():
            raise UserError("there is no store", where=str(folder), hint="name its folder with --store")
        read_format(folder)
        forget()
        return cls(folder)

    def finished(self) -> list[Path]:
        """List the folders of stages, except work in progress and what was put aside."""
        return sorted(path for path in self.root.glob("*/*") if _SHA256.fullmatch(path.name) and path.is_dir())

    def put_aside_earlier(self) -> list[Path]:
        """List the folders of damaged stages that were put aside."""
        return sorted(path for path in self.root.glob("*/*.damaged-*") if path.is_dir())

    def folder(self, node: StageNode) -> Path:
        """Return the folder of the finished stage, whether or not it exists yet."""
        return self.root.joinpath(node.kind, node.fingerprint)

    def partial(self, node: StageNode) -> Path:
        """Return the folder of the stage's work in progress."""
        return lease.working_folder(self.folder(node))

    def is_complete(self, node: StageNode) -> bool:
        """Say whether the stage is finished."""
        return os.path.isfile(f"{self.root}/{node.kind}/{node.fingerprint}/{MANIFEST}")  # noqa: PTH113 - of every stage

    def damage(self, node: StageNode) -> tuple[str, ...]:
        """Say what is damaged in a stage, one entry per file; nothing if it is whole or not finished.

        Raises:
            UserError: A newer eagbench wrote the stage, or this user may not read it.
        """
        return damage(f"{self.root}/{node.kind}/{node.fingerprint}")

    def is_whole(self, node: StageNode) -> bool:
        """Say whether the stage is finished and its files are what its manifest says."""
        # In this order: another process may put it aside in between.
        return not self.damage(node) and self.is_complete(node)

    def manifest(self, node: StageNode) -> dict[str, Any]:
        """Return the finished stage's manifest."""
        with open(f"{self.root}/{node.kind}/{node.fingerprint}/{MANIFEST}", "rb") as stream:  # noqa: PTH123 - as above
            manifest: dict[str, Any] = json.loads(stream.read())
        return manifest

    @contextlib.contextmanager
    def lock(self, node: StageNode) -> Iterator[None]:
        """Lock the stage, so that two processes do not work on the same one; the second waits for the first."""
        folder = self.folder(node)
        if not folder.parent.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            sync(self.root)
        with lease.leased(folder):
            yield

    def is_locked(self, node: StageNode) -> bool:
        """Say whether a process works on the stage now."""
        return lease.is_held(self.folder(node))

    def is_taken_over(self, node: StageNode) -> bool:
        """Say whether another process has the lock that this one held, because this one had stopped for a while."""
        return lease.is_lost(self.folder(node))

    def put_aside(self, node: StageNode) -> str | None:
        """Rename a damaged stage, so that it can be computed again. The lock must be held.

        Returns:
            What was damaged and what the folder is called now, in words; None if nothing was damaged.

        Raises:
            UserError: It can't be renamed.
        """
        problems = self.damage(node)
        if not problems:
            return None
        folder = self.folder(node)
        number = 1
        while (place := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
            number += 1
        try:
            folder.rename(place)
            record_of(folder).unlink(missing_ok=True)
            sync(folder.parent)  # before anything else gets its name
        except OSError as error:
            raise UserError(
                f"a damaged stage can't be put aside: {error.strerror} ({enumerated(problems)})",
                where=str(folder),
                hint="set EAGBENCH_STORE to a folder that you can write",
            ) from error
        return f"{enumerated(problems)}; put aside as {place.name}"

    def begin(self, node: StageNode, *, anew: bool) -> Path:
        """Return the folder to work in, with the files of an interrupted attempt unless `anew`."""
        partial = self.partial(node)
        if anew:
            shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        # After a kill or a power cut at the end of an attempt, the manifest may be there and the final name not.
        for name in (_NEW_MANIFEST, MANIFEST):
            (partial / name).unlink(missing_ok=True)
        return partial

    def discard(self, node: StageNode) -> None:
        """Remove work in progress that must not be resumed."""
        shutil.rmtree(self.partial(node), ignore_errors=True)

    def commit(self, node: StageNode, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Finish a stage: remove its checkpoints, give the folder its final name, and write the manifest last.

        At each moment, what is on the disk of a folder with a manifest is whole, even if the power fails.

        Raises:
            LeaseLostError: Another process has taken the stage over.
        """
        partial, folder = self.partial(node), self.folder(node)
        replaced = folder.with_name(f"{folder.name}.replaced")
        for rest in (partial / "checkpoints", replaced):
            shutil.rmtree(rest, ignore_errors=True)
        stamps = {name: found for name, found in stamps_of(partial).items() if name != MANIFEST}
        manifest = {
            "eagbench_version": eagbench.__version__,
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
            **({} if node.threads is None else {"threads": node.threads}),
            "files": {name: file_hash(partial / name) for name in sorted(stamps)},
            **facts,
        }
        (partial / _NEW_MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
        sync_all(tree(partial))
        lease.check(folder)
        record_of(folder).unlink(missing_ok=True)
        if folder.exists():  # it is computed anew, or a kill came before its manifest
            folder.rename(replaced)
        partial.rename(folder)
        (folder / _NEW_MANIFEST).rename(folder / MANIFEST)
        sync_all((folder, folder.parent))
        shutil.rmtree(replaced, ignore_errors=True)
        lease.forget_predecessors(folder)
        note(folder, {**stamps, MANIFEST: stamp(str(folder / MANIFEST))}, folder.stat().st_ino)
        return manifest

    def seconds_of(self, kind: str, label: str) -> float | None:
        """Return how long the last stage of this kind and label took here, to estimate the next one."""
        newest: tuple[float, float] | None = None
        for path in (self.root / kind).glob(f"*/{MANIFEST}"):
            try:
                manifest, written = json.loads(path.read_bytes()), path.stat().st_mtime
                if manifest["label"] == label and (newest is None or written > newest[0]):
                    newest = (written, float(manifest["seconds"]))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # damaged, or just put aside: what it took is not known
        return None if newest is None else newest[1]

    def content_hash(self, files: list[Path]) -> str:
        """Hash the content of files, remembering each file's own hash by path, size and mtime."""
        digest = hashlib.sha256()
        for file in sorted(files):
            stat = file.stat()
            key = hashlib.sha256(f"{file.absolute()}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()
            cached = self.root / "content" / key[:2] / key
            value = cached.read_text(errors="replace") if cached.is_file() else ""
            if not _SHA256.fullmatch(value):  # never hashed, or cut off by a power cut
                value = file_hash(file)
                cached.parent.mkdir(parents=True, exist_ok=True)
                replace_text(cached, value)
            # The name counts but its folder does not: moved data is the same data.
            digest.update(f"{file.name}:{value}\n".encode())
        return digest.hexdigest()


def enumerated(problems: Sequence[str]) -> str:
    """Name the first files of a damaged stage."""
    more = len(problems) - _NAMED_FILES
    return "; ".join(problems[:_NAMED_FILES]) + (f"; and {more} more files" if more > 0 else "")
