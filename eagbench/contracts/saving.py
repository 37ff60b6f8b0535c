"""Saves and loads components without pickle, as arrays or scikit-learn models; finds the files of data sets."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eagbench.errors import UserError

_ABOUT = "about"
# What a stored estimator may be made of. Everything else is refused, when it is saved and when it is loaded.
_TRUSTED = ("builtins.", "collections.", "numpy.", "scipy.", "sklearn.")
_TIME = (1980, 1, 1, 0, 0, 0)


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], about: Mapping[str, Any] | None = None) -> None:
    """Write arrays by name as safetensors, bit for bit; equal arrays give equal bytes.

    Args:
        path: The file, for example `folder / "model.safetensors"`.
        arrays: Numbers or booleans of any shape.
        about: JSON values that `load_arrays` returns with them: names, sizes.
    """
    from safetensors.numpy import save_file

    # One entry of metadata only: safetensors writes several in an order that differs from process to process.
    metadata = {_ABOUT: json.dumps(dict(about or {}), sort_keys=True)}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, metadata=metadata)


def load_arrays(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read what `save_arrays` wrote: the arrays by name, and the JSON values about them."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        about: dict[str, Any] = json.loads((file.metadata() or {}).get(_ABOUT, "{}"))
        return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 - no mapping


def save_estimator(path: Path, estimator: Any) -> None:
    """Write a fitted scikit-learn estimator or pipeline with skops; equal estimators give equal bytes.

    Args:
        path: The file, for example `folder / "model.skops"`.
        estimator: Consists of scikit-learn, SciPy and NumPy objects only.

    Raises:
        TypeError: It holds other objects.
    """
    import skops.io

    data = skops.io.dumps(estimator)
    _refuse_untrusted(data)
    path.write_bytes(_without_addresses(data))


def load_estimator(path: Path) -> Any:
    """Read what `save_estimator` wrote.

    Raises:
        TypeError: The file holds objects other than those of scikit-learn, SciPy and NumPy.
    """
    import skops.io

    data = path.read_bytes()
    return skops.io.loads(data, trusted=_refuse_untrusted(data))


def _refuse_untrusted(data: bytes) -> list[str]:
    import skops.io

    found = list(skops.io.get_untrusted_types(data=data))
    others = [name for name in found if not name.startswith(_TRUSTED)]
    if others:
        raise TypeError(f"an estimator is made of scikit-learn, SciPy and NumPy alone, not of {', '.join(others)}")
    return found


def _without_addresses(data: bytes) -> bytes:
    """Replace the memory addresses that skops writes by running numbers, and drop the time it records."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    schema = contents.pop("schema.json").decode()
    identity = re.compile(r'"__id__": (\d+)|"(\d+)\.(?:npy|npz)"')
    order = dict.fromkeys(first or second for first, second in identity.findall(schema))
    numbered = {address: str(i) for i, address in enumerate(order)}

    def renamed(match: re.Match[str]) -> str:
        address = match[1] or match[2]
        return match[0].replace(address, numbered[address])

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("schema.json", _TIME), identity.sub(renamed, schema))
        for name in sorted(contents, key=lambda name: int(numbered[name.partition(".")[0]])):
            address, dot, suffix = name.partition(".")
            archive.writestr(zipfile.ZipInfo(f"{numbered[address]}{dot}{suffix}", _TIME), contents[name])
    return out.getvalue()


def files_under(root: Path, names: Sequence[str | tuple[str, ...]], hint: str) -> tuple[Path, ...]:
    """Find the files of a data set below its root.

    Args:
        root: The user's `data.root`.
        names: Paths below it; a tuple stands for the first of its paths that exists.
        hint: Where to get the data, and which folder to give.

    Raises:
        UserError: The root is not a folder, or a file is missing.
    """
    if not root.is_dir():
        raise UserError(f"data root '{root}' is not a folder", where="data.root", hint=hint)
    found = []
    for name in names:
        choices = (name,) if isinstance(name, str) else name
        present = [root / choice for choice in choices if (root / choice).is_file()]
        if not present:
            raise UserError(f"there is no '{' or '.join(choices)}' in '{root}'", where="data.root", hint=hint)
        found.append(present[0])
    return tuple(found)
