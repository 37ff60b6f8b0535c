"""Compare two revisions: check one out as a worktree, and install each in its own environment."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def worktree(revision: str, place: Path) -> Iterator[Path]:
    """Check out a revision beside the working tree, and remove it at the end."""
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(place), revision], cwd=ROOT, check=True)
    try:
        yield place
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(place)], cwd=ROOT, check=True)


def environment_of(tree: Path, place: Path) -> Path:
    """Make an environment with `tree` installed; everything else comes from the current environment."""
    venv.create(place, with_pip=False)
    packages = Path(sysconfig.get_path("purelib"))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = place / "lib" / version / "site-packages"
    (site / "_others.pth").write_text(f"{packages}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--disable-pip-version-check", "-e", str(tree)], check=True)
    return place / "bin" / "python"
