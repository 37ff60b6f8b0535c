"""The threads that a stage computes with: as many as its benchmark declares, whatever the machine or a variable says.

Sums in another order end in other last digits, so the number of threads is part of a stage.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

# OpenMP, OpenBLAS, MKL, Apple's Accelerate and numexpr each read their own once, when they are loaded.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def use_one_thread() -> None:
    """Let libraries that this process and its workers load from now on begin with one thread."""
    os.environ.update(_variables(1))


@contextmanager
def limited_threads(n_threads: int) -> Iterator[None]:
    """Compute with so many threads in the context: libraries that are loaded, and those that are loaded there.

    A component that limits its own threads, as `lightgbm` with `num_threads`, keeps to that. It must be entered in the
    thread that computes, for which OpenMP sets the number.

    Args:
        n_threads: Threads of one operation (PyTorch's intra-op threads). How many operations PyTorch runs side by side
            changes no digit, and is left alone.
    """
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(_variables(n_threads))
    torch_before = _torch_threads(n_threads)
    try:
        with _libraries(len(sys.modules)).limit(limits=n_threads):
            yield
    finally:
        if torch_before is not None:
            _torch_threads(torch_before)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@lru_cache(maxsize=1)
def _libraries(n_modules: int) -> ThreadpoolController:
    """Look for the libraries that compute with threads, again when a module was imported since."""
    from threadpoolctl import ThreadpoolController

    del n_modules
    return ThreadpoolController()


def _variables(n_threads: int) -> dict[str, str]:
    return dict.fromkeys(_VARIABLES, str(n_threads))


def _torch_threads(n_threads: int) -> int | None:
    """Set PyTorch's number of threads if it is imported, and return the one before."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    before = int(torch.get_num_threads())
    torch.set_num_threads(n_threads)
    return before
