"""`eagbench store check`: hash every file that the store's manifests vouch for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eagbench.execution.progress import Reporter
from eagbench.execution.stage_checks import hashed_damage
from eagbench.execution.stage_files import DamagedManifest, read_manifest
from eagbench.execution.store import Store
from eagbench.prompting.answer_cache import FOLDER as RESPONSES
from eagbench.prompting.answer_cache import damaged_answers


@dataclass(frozen=True, slots=True)
class StoreFindings:
    """What a store holds and what is damaged of it.

    Attributes:
        root: The store.
        n_stages: Number of finished stages.
        damaged: What is damaged, a line each.
        put_aside: The folders of damaged stages that runs put aside earlier.
    """

    root: Path
    n_stages: int
    damaged: tuple[str, ...]
    put_aside: tuple[Path, ...]

    def text(self) -> str:
        """Format the findings as text."""
        lines = [f"damaged: {line}" for line in self.damaged]
        lines.append(f"{self.root}: {self.n_stages} finished stages checked, {len(self.damaged) or 'nothing'} damaged")
        if self.damaged:
            lines.append("a run that needs a damaged stage puts it aside and computes it again")
        if self.put_aside:
            lines.append("put aside earlier; nothing reads them, so you may delete them:")
            lines += [f"  {path}" for path in self.put_aside]
        return "\n".join(lines)


def check_store(root: Path | None) -> StoreFindings:
    """Hash all files of a store, and read all answers of servers in it.

    Args:
        root: The store; None for the user's own.

    Raises:
        UserError: There is no store, a newer eagbench made it, or this user may not read it.
    """
    store = Store.existing(root)
    folders = store.finished()
    found = []
    for folder in Reporter().progress(folders, "check", len(folders)):
        found += [f"{_named(folder)}: {problem}" for problem in hashed_damage(folder)]
    found += [f"a server's answer: {path}" for path in damaged_answers(store.root / RESPONSES)]
    return StoreFindings(store.root, len(folders), tuple(found), tuple(store.put_aside_earlier()))


def _named(folder: Path) -> str:
    """Name a stage by what its manifest still says."""
    place = f"{folder.parent.name}/{folder.name}"
    try:
        manifest = read_manifest(folder)
    except DamagedManifest:
        return place
    seed = "" if manifest["seed"] is None else f", seed {manifest['seed']}"
    return f"{manifest['label']}{seed} ({place})"
