"""Finds the distributions of imported packages, and the versions of those that can change results."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Iterable

# Where one of these is replaced, a number may change, also in code that imports it through another package only.
NUMERIC = frozenset(
    {"accelerate", "captum", "catboost", "jax", "jaxlib", "lightgbm", "numpy", "pandas", "peft", "polars", "pyarrow"}
    | {"pyhealth", "safetensors", "scikit-learn", "scipy", "statsmodels", "tensorflow", "tokenizers", "torch"}
    | {"transformers", "trl", "vllm", "xgboost"}
)
# Imports that are not called like their distribution.
_ALIASES = {
    "PIL": "pillow", "attr": "attrs", "bs4": "beautifulsoup4", "cv2": "opencv-python", "dateutil": "python-dateutil",
    "llama_cpp": "llama-cpp-python", "skimage": "scikit-image", "sklearn": "scikit-learn", "umap": "umap-learn",
    "yaml": "PyYAML",
}  # fmt: skip


@functools.cache
def distribution_of(package: str) -> str | None:
    """Name the installed distribution of an imported package; None if it belongs to none."""
    for name in dict.fromkeys((package, _ALIASES.get(package, package))):
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return _normalised(name)
    return next(iter(_distributions().get(package, ())), None)


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def distribution_to_install(package: str) -> str:
    """Name the distribution to install for an absent package, if known; else the package itself."""
    return _ALIASES.get(package, package)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages' distributions, and of the numeric ones that these require.

    Args:
        packages: Installed packages, by import name.
    """
    named = {_normalised(name) for package in packages if (name := distribution_of(package)) is not None}
    found = named.union(*(_numeric_behind(name) for name in named))
    return {name: importlib.metadata.version(name) for name in sorted(found)}


@functools.cache
def _numeric_behind(distribution: str) -> frozenset[str]:
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [distribution]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in NUMERIC:
            found.add(name)
        waiting.extend(_required(name))
    return frozenset(found)


@functools.cache
def _required(distribution: str) -> tuple[str, ...]:
    """List the installed distributions that a distribution requires, without its extras."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        written = importlib.metadata.requires(distribution) or ()
    except importlib.metadata.PackageNotFoundError:
        return ()
    found = []
    for text in written:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        name = _normalised(requirement.name)
        if (requirement.marker is None or requirement.marker.evaluate({"extra": ""})) and _is_installed(name):
            found.append(name)
    return tuple(found)


@functools.cache
def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
