"""An append-only journal of what a model wrote, so that an interrupted search goes on inside its tree.

A search is a function of its arguments and of what the model writes. To continue one, it is run again on the journal:
every call of the model that was answered before is answered from the file, to the letter, and the first one that was
not is where the search goes on. One line per call, so that a resumed search makes its calls with the very batches of an
unbroken one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from eagbench.api import FloatArray, Generation, LanguageModel, Sampling


class JournaledModel:
    """A language model that notes its answers, and repeats those that it finds noted.

    Args:
        model: The model.
        path: The journal; a last line cut short by a kill is removed.

    Attributes:
        replayed: Calls answered from the journal so far.
    """

    def __init__(self, model: LanguageModel, path: Path) -> None:
        self._model = model
        self._answers = _read(path)
        self._stream = path.open("a", encoding="utf-8")
        self.replayed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """What the model writes, or wrote."""
        key = _key("generate", prompts, dataclasses.asdict(sampling), seed, written)
        answer = self._noted(key)
        if answer is None:
            texts = self._model.generate(prompts, sampling, seed, written)
            answer = [[text.text, text.tokens] for text in texts]
            self._note(key, answer)
        return [Generation(text, tokens) for text, tokens in answer]

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> FloatArray:
        """What the model gives, or gave. Shape (len(prompts), len(candidates))."""
        key = _key("continuation", prompts, written, candidates)
        answer = self._noted(key)
        if answer is None:
            answer = self._model.continuation_probabilities(prompts, written, candidates).tolist()
            self._note(key, answer)
        return np.array(answer, dtype=np.float64).reshape(len(prompts), len(candidates))

    def _noted(self, key: str) -> Any:
        answer = self._answers.get(key)
        self.replayed += answer is not None
        return answer

    def _note(self, key: str, answer: Any) -> None:
        self._stream.write(json.dumps([key, answer], ensure_ascii=False) + "\n")
        self._stream.flush()


def _key(*parts: Any) -> str:
    listed = [list(part) if isinstance(part, tuple) else part for part in parts]
    return hashlib.sha256(json.dumps(listed, ensure_ascii=False).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if len(complete) < len(content):
        with path.open("r+b") as stream:
            stream.truncate(len(complete))
    return dict(json.loads(line) for line in complete.decode().splitlines())
