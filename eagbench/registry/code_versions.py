"""What of the code, the libraries and the machine changes numbers: it is part of every stage's fingerprint."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import eagbench
from eagbench.contracts.stages import content_hash
from eagbench.errors import UserError
from eagbench.registry.environment import environment

# What of the core each of its stages depends on, as paths below eagbench/. A change there makes results anew.
_SHARED = (
    "contracts", "execution/resolve.py", "stages/shared_concepts.py", "stages/cohort_files.py",
    "stats/record_arrays.py",
)  # fmt: skip
GROUP = "eagbench"

_CODE: Mapping[str, tuple[str, ...]] = {
    "source": ("stages/cohort.py", "vocabulary"),
    "cohort": ("stages/cohort.py", "vocabulary"),
    "split": ("stages/split.py",),
    "nested_split": ("stages/split.py", "stages/nested_split.py"),
    "domain": ("stages/domains.py", "stages/split.py"),
    "shared_concepts": ("stages/domains.py", "vocabulary"),
    "covariate_shift": ("stages/domains.py",),
    "expert": ("stages/expert.py",),
    "reference_salience": ("stages/salience.py",),
    "frequency_baseline": ("stages/salience.py",),
    "salience": ("stages/salience.py",),
    "record_text": ("stages/record_text.py", "prompting"),
    "policy": ("stages/policy.py", "prompting"),
    "predict": ("stages/predict.py", "prompting"),
    "recalibration": ("stages/recalibration.py", "stats"),
    "subgroups": ("stages/subgroups.py",),
    "score": ("stages/score.py", "stages/recalibration.py", "stages/subgroups.py", "metrics", "stats", "analysis"),
    "references": ("stages/score.py", "stages/subgroups.py", "metrics", "stats", "analysis"),
}


@functools.cache
def core_code(kind: str) -> str:
    """Version of the core's code behind a kind of stage."""
    root = Path(eagbench.__file__).parent
    hashes = [source_hash(root / part) for part in (*_SHARED, *_CODE.get(kind, ()))]
    return f"eagbench=={eagbench.__version__}+{content_hash([hashes, environment()])[:16]}"


_SOURCE_SUFFIXES = {".py", ".yaml", ".yml", ".json", ".j2", ".csv"}


@functools.cache
def code_version(component: Any, distribution: str) -> str:
    """Version of the code behind a component class or a stage's function.

    It is the version of its distribution and the hash of its plugin's source: of the folder that the plugin's
    entry-point module stands in, since a component may use all that lies there, or of its own package if it came
    through no entry point.

    The source is hashed whether the plugin is editable or not, so that a patched copy never passes for the original.
    A component whose numbers come from an optional package names it in a class attribute `packages: tuple[str, ...]`;
    their versions are added.

    Raises:
        UserError: One of these packages is not installed.
    """
    source = inspect.getsourcefile(component)
    version = f"{distribution}=={importlib.metadata.version(distribution)}"
    if source is not None:
        version += f"+{source_hash(_versioned_source(component.__module__, Path(source), distribution))}"
    return ";".join([version, *(_package_version(name, component) for name in getattr(component, "packages", ()))])


def _versioned_source(module: str, source: Path, distribution: str) -> Path:
    """The plugin's folder, else the component's own package, else its module's file."""
    folder = _plugin_folder(module, distribution)
    if folder is not None:
        return folder
    return source.parent if (source.parent / "__init__.py").exists() else source


def _package_version(package: str, component: Any) -> str:
    try:
        return f"{package}=={importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            f"'{component.name}' needs the package {package}, which is not installed", mend=f"pip install {package}"
        ) from error


def _plugin_folder(module: str, distribution: str) -> Path | None:
    """The folder of the plugin that a module belongs to; None if no entry point of the distribution stands there."""
    for entry_point in importlib.metadata.distribution(distribution).entry_points.select(group=GROUP):
        package = entry_point.module.rpartition(".")[0] or entry_point.module
        loaded = sys.modules.get(package)
        if f"{module}.".startswith(f"{package}.") and hasattr(loaded, "__path__"):
            return Path(next(iter(loaded.__path__)))  # type: ignore[union-attr]
    return None


def source_hash(path: Path) -> str:
    """First 16 hex digits of the hash over a source file, or over all source files below a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in _SOURCE_SUFFIXES)
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(path if path.is_dir() else path.parent).as_posix().encode() + b"\0")
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
