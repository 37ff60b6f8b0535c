"""A cache of requests to a server and their answers. It is in the store, so that a resumed run repeats no request.

    <store>/responses/<first two digits>/<hash of the request>.json

There is one file per request. Each is written atomically, so several processes may share the folder. The request
contains a patient's record, so only its hash is stored.
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
_OWN_HASH = "sha256"


class ResponseCache:
    """A cache of answers by request.

    Args:
        root: Folder of the answers.
        not_before: Ignore answers from before this time (seconds since 1970), so that `--fresh` sends requests again.

    Attributes:
        costs: Costs of the answers, by name, beyond the tokens that a method counts. They are added to the stage's
            costs.
    """

    def __init__(self, root: Path, not_before: float = 0.0) -> None:
        self.root, self.not_before = root, not_before
        self.costs: dict[str, float] = {}
        self._lock = threading.Lock()

    @staticmethod
    def key(request: Mapping[str, Any]) -> str:
        """Hash a request.

        Args:
            request: JSON values: everything that determines the answer (server, model, parameters, prompt, seed and
                sample).
        """
        return content_hash(dict(request))

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the answer to a request, or None if there is none from `not_before` on, or a damaged one."""
        stored = _read(self._path(key))
        if stored is None or stored["time"] < self.not_before:
            return None
        answer: dict[str, Any] = stored["answer"]
        return answer

    def put(self, key: str, answer: Mapping[str, Any]) -> None:
        """Store an answer; safe across threads and processes."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        stored = {"time": time.time(), "answer": json.loads(json.dumps(dict(answer)))}
        temporary.write_text(json.dumps({**stored, _OWN_HASH: content_hash(stored)}), encoding="utf-8")
        temporary.replace(path)

    def forget(self, key: str) -> None:
        """Delete an answer that turned out to be useless."""
        self._path(key).unlink(missing_ok=True)

    def add_cost(self, name: str, amount: float) -> None:
        """Add an amount to `costs`."""
        with self._lock:
            self.costs[name] = self.costs.get(name, 0.0) + amount

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.json"


def damaged_answers(root: Path) -> list[Path]:
    """List the answers below a folder that are not what was written; they are asked for again."""
    return [path for path in sorted(root.glob("*/*.json")) if not path.name.startswith(".") and _read(path) is None]


def _read(path: Path) -> dict[str, Any] | None:
    """Read a stored answer; None if there is none, or it is damaged. Early versions wrote no hash."""
    try:
        stored: dict[str, Any] = json.loads(path.read_bytes())
        own = stored.pop(_OWN_HASH, None)
        is_whole = stored.keys() >= {"time", "answer"} and own in {None, content_hash(stored)}
    except (FileNotFoundError, ValueError, AttributeError, TypeError):
        return None
    return stored if is_whole else None


_current: ContextVar[ResponseCache | None] = ContextVar("response_cache", default=None)


@contextlib.contextmanager
def answering_from(cache: ResponseCache) -> Iterator[None]:
    """Make `response_cache` return this cache inside the context, in this thread.

    The runner uses it to set the cache of each stage.
    """
    token = _current.set(cache)
    try:
        yield
    finally:
        _current.reset(token)


def response_cache() -> ResponseCache:
    """Return the cache of the running stage, or else that of the user's store."""
    return _current.get() or ResponseCache(default_root() / FOLDER)
