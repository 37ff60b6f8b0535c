"""What was asked of a server and what it answered: kept in the store, so that a run taken up again asks nothing twice.

    <store>/responses/<first two digits>/<hash of the request>.json

One file per request, written whole or not at all, so that several processes may share the folder. The request itself
(a patient's record stands in it) is not stored, only its hash.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from eagbench.config.folders import default_root
from eagbench.contracts.stages import content_hash

FOLDER = "responses"


class ResponseCache:
    """Answers by request.

    Args:
        root: Where the answers lie.
        not_before: Answers from before this time (seconds since 1970) are not used: `--fresh` asks anew.

    Attributes:
        costs: What the answers cost beyond the tokens that a method counts, by name; added to its stage's costs.
    """

    def __init__(self, root: Path, not_before: float = 0.0) -> None:
        self.root, self.not_before = root, not_before
        self.costs: dict[str, float] = {}
        self._lock = threading.Lock()

    @staticmethod
    def key(request: Mapping[str, Any]) -> str:
        """Names a request.

        Args:
            request: JSON values: all that decides the answer (server, model, parameters, prompt, seed and sample).
        """
        return content_hash(dict(request))

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer to a request, None if there is none yet."""
        try:
            stored = json.loads(self._path(key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        answer: dict[str, Any] = stored["answer"]
        return answer if stored["time"] >= self.not_before else None

    def put(self, key: str, answer: Mapping[str, Any]) -> None:
        """Keeps an answer; safe from several threads and processes."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        temporary.write_text(json.dumps({"time": time.time(), "answer": dict(answer)}), encoding="utf-8")
        temporary.replace(path)

    def forget(self, key: str) -> None:
        """Removes an answer that turned out to be of no use."""
        self._path(key).unlink(missing_ok=True)

    def add_cost(self, name: str, amount: float) -> None:
        """Adds to `costs`."""
        with self._lock:
            self.costs[name] = self.costs.get(name, 0.0) + amount

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.json"


_current: ContextVar[ResponseCache | None] = ContextVar("response_cache", default=None)


@contextlib.contextmanager
def answering_from(cache: ResponseCache) -> Iterator[None]:
    """What `response_cache` returns within, in this thread: the runner names the cache of each stage."""
    token = _current.set(cache)
    try:
        yield
    finally:
        _current.reset(token)


def response_cache() -> ResponseCache:
    """The cache of the stage that runs, else that of the user's store."""
    return _current.get() or ResponseCache(default_root() / FOLDER)
