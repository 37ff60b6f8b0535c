"""eagbench: does a language model read health records better, more robustly, or in another hospital?"""

import os

__version__ = "0.1.0"

# Before any library loads libgomp, which reads it once; processes that are started inherit it. By default a thread that
# waits for the others spins, and two processes on two cores keep each other from working. It changes no result.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
# Before Polars is loaded. Its allocator (jemalloc) leaves freed memory to the kernel to take when it likes, and until
# then it counts as ours: a third of what making a large cohort took. Given back at once, it costs that stage an eighth
# more CPU time.
os.environ.setdefault("_RJEM_MALLOC_CONF", "muzzy_decay_ms:0")

# What a script or a notebook calls, found when it is used: every module of eagbench imports this one, and nothing below
# the command line may import what stands above it. `__init__.pyi` gives the types.
_PLACES = {
    "Run": "eagbench.session.run",
    "UserError": "eagbench.errors",
    "list_runs": "eagbench.session.front",
    "open_run": "eagbench.session.front",
    "run": "eagbench.session.front",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'eagbench' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
