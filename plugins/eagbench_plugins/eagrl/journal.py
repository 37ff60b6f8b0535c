"""An append-only journal per case of what a model wrote, so that an interrupted search goes on inside its trees.

A search is a function of its arguments and of what the model writes. To continue one, it is run again on the journals:
each case's file is what the model answered for it, in order, and is followed line by line, to the letter. A call that
all its cases hold is not made again. The first one that some case lacks is where the search goes on: it is asked for as
a whole, so that a resumed search makes its calls with the very batches of an unbroken one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.api import FloatArray, Generation, LanguageModel, Sampling, SearchTask


class JournaledModel:
    """A language model that notes its answers case by case, and repeats those that it finds noted.

    A prompt belongs to the case whose prompt it begins with (a judgement of a step begins so, too). Cases with equal
    prompts share the journal of the first of them; a prompt that begins with no case's is noted with the first case.

    Args:
        model: The model.
        tasks: The cases that are searched together.
        folder: Holds the journals, one file per case; made if need be.

    Attributes:
        replayed: Calls answered from the journals so far.
    """

    def __init__(self, model: LanguageModel, tasks: Sequence[SearchTask], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._model = model
        self._owner = {task.prompt: i for i, task in reversed(list(enumerate(tasks)))}
        self._journals = [_CaseJournal(journal_path(folder, task.case.case_id)) for task in tasks]
        self.replayed = 0

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """What the model writes, or wrote."""
        begun = [""] * len(prompts) if written is None else written
        question = ["generate", dataclasses.asdict(sampling), seed]

        def ask() -> list[Any]:
            return [[text.text, text.tokens] for text in self._model.generate(prompts, sampling, seed, written)]

        return [Generation(text, tokens) for text, tokens in self._answers(prompts, begun, question, ask)]

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> FloatArray:
        """What the model gives, or gave. Shape (len(prompts), len(candidates))."""
        question = ["continuation", list(candidates)]

        def ask() -> list[Any]:
            return list(self._model.continuation_probabilities(prompts, written, candidates).tolist())

        answers = self._answers(prompts, written, question, ask)
        return np.array(answers, dtype=np.float64).reshape(len(prompts), len(candidates))

    def _answers(
        self, prompts: Sequence[str], written: Sequence[str], question: Any, ask: Callable[[], list[Any]]
    ) -> list[Any]:
        """One answer per prompt: from the journals where they hold it, else from the model, which is then noted."""
        rows: dict[int, list[int]] = defaultdict(list)  # case -> positions in the call
        for row, prompt in enumerate(prompts):
            rows[self._case_of(prompt)].append(row)
        keys = {case: _key([question, [[prompts[i], written[i]] for i in mine]]) for case, mine in rows.items()}
        held = {case: self._journals[case].follow(key) for case, key in keys.items()}
        replay = None not in held.values()
        self.replayed += replay
        given = [] if replay else ask()
        answers: list[Any] = [None] * len(prompts)
        for case, mine in rows.items():
            part = held[case]
            # A kill may fall between the lines of one call: what a case holds already is neither doubled nor replaced,
            # whatever the last bits of the new answer are.
            if part is None:
                part = [given[i] for i in mine]
                self._journals[case].add(keys[case], part)
            for i, answer in zip(mine, part, strict=True):
                answers[i] = answer
        return answers

    def _case_of(self, prompt: str) -> int:
        if prompt in self._owner:
            return self._owner[prompt]
        return self._owner.get(max(filter(prompt.startswith, self._owner), key=len, default=""), 0)


class _CaseJournal:
    """One case's file and the place that the search has reached in it. The file is open only while a line is added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ahead = deque(_read(path))

    def follow(self, key: str) -> list[Any] | None:
        """The answers of the next line; None at the end.

        Raises:
            ValueError: The next line answers something else: the search is no function of its arguments.
        """
        if not self._ahead:
            return None
        noted: str
        answers: list[Any]
        noted, answers = self._ahead.popleft()
        if noted != key:
            raise ValueError(f"the search asks something else than before its interruption; its journal: {self._path}")
        return answers

    def add(self, key: str, answers: list[Any]) -> None:
        """Adds a line."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([key, answers], ensure_ascii=False) + "\n")


def journal_path(folder: Path, case_id: str) -> Path:
    """Where a case's journal lies: the hash of its id, which may hold any character."""
    return folder / f"{hashlib.sha256(case_id.encode()).hexdigest()[:32]}.jsonl"


def _key(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


def _read(path: Path) -> list[Any]:
    """The complete lines; a last one cut short by a kill is removed."""
    if not path.exists():
        return []
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if len(complete) < len(content):
        with path.open("r+b") as stream:
            stream.truncate(len(complete))
    return [json.loads(line) for line in complete.split(b"\n")[:-1]]
