"""An append-only journal per case of the model's answers, so that an interrupted search can resume inside its trees.

A search depends only on its arguments and on what the model writes. To resume it, run it again on the journals. Each
case's file lists the model's answers for that case in order, and the search replays it line by line, verbatim. A call
is skipped if the journals of all its cases hold the answer. At the first call that some case lacks, the search resumes:
it makes the whole call, so that a resumed search sends the same batches as an uninterrupted one.

A local model remembers what it read (`RemembersTexts`), and what it reads on depends in its last bits on how it read
what came before. So it begins each batch of cases without memory, and where a search resumes, it reads the replayed
calls again before the first new one: the price of equal bytes, at most the cost of one batch of cases.
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

from eagbench.api import (
    FloatArray,
    Generation,
    LanguageModel,
    RemembersTexts,
    Sampling,
    SearchTask,
    Thought,
    count_tokens,
)


class JournaledModel:
    """A language model that records its answers case by case and replays the recorded ones.

    A prompt belongs to the case whose own prompt it starts with (this also holds for prompts that judge a step). Cases
    with equal prompts share the journal of the first of them. A prompt that starts with no case's prompt is recorded
    with the first case.

    Args:
        model: The model.
        tasks: The cases that are searched together.
        folder: Holds the journals, one file per case; created if needed.

    Attributes:
        replayed: Number of calls answered from the journals so far.
    """

    def __init__(self, model: LanguageModel, tasks: Sequence[SearchTask], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._model = model
        self._owner = {task.prompt: i for i, task in reversed(list(enumerate(tasks)))}
        self._journals = [_CaseJournal(journal_path(folder, task.case.case_id)) for task in tasks]
        self._remembers = isinstance(model, RemembersTexts)
        self._not_read: list[Callable[[], object]] = []  # replayed calls that the model has not read
        if isinstance(model, RemembersTexts):
            model.forget()
        self.replayed = 0

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """Generate texts with the model, or replay them from the journals."""
        begun = [""] * len(prompts) if written is None else written
        question = ["generate", dataclasses.asdict(sampling), seed]

        def ask() -> list[Any]:
            texts = self._model.generate(prompts, sampling, seed, written)
            count_tokens(sum(text.tokens for text in texts))
            return [_noted(text) for text in texts]

        return [_generation(*noted) for noted in self._answers(prompts, begun, question, ask)]

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> FloatArray:
        """Compute the probabilities with the model, or replay them. Shape (len(prompts), len(candidates))."""
        question = ["continuation", list(candidates)]

        def ask() -> list[Any]:
            return list(self._model.continuation_probabilities(prompts, written, candidates).tolist())

        answers = self._answers(prompts, written, question, ask)
        return np.array(answers, dtype=np.float64).reshape(len(prompts), len(candidates))

    def _answers(
        self, prompts: Sequence[str], written: Sequence[str], question: Any, ask: Callable[[], list[Any]]
    ) -> list[Any]:
        """Return one answer per prompt: from the journals if they hold them all, else from the model, then recorded."""
        rows: dict[int, list[int]] = defaultdict(list)  # case -> positions in the call
        for row, prompt in enumerate(prompts):
            rows[self._case_of(prompt)].append(row)
        keys = {case: _key([question, [[prompts[i], written[i]] for i in mine]]) for case, mine in rows.items()}
        held = {case: self._journals[case].follow(key) for case, key in keys.items()}
        replay = None not in held.values()
        self.replayed += replay
        if replay and self._remembers:
            self._not_read.append(ask)
        given = [] if replay else self._asked(ask)
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

    def _asked(self, ask: Callable[[], list[Any]]) -> list[Any]:
        """Ask the model, after it has read what it read before the interruption."""
        for earlier in self._not_read:
            earlier()
        self._not_read = []
        return ask()

    def _case_of(self, prompt: str) -> int:
        if prompt in self._owner:
            return self._owner[prompt]
        return self._owner.get(max(filter(prompt.startswith, self._owner), key=len, default=""), 0)


class _CaseJournal:
    """One case's file and the search's position in it. The file is open only while a line is added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ahead = deque(_read(path))

    def follow(self, key: str) -> list[Any] | None:
        """Return the answers of the next line; None at the end.

        Raises:
            ValueError: The next line answers another question, so the search does not depend on its arguments alone.
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
        """Append a line."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([key, answers], ensure_ascii=False) + "\n")


def journal_path(folder: Path, case_id: str) -> Path:
    """Return the path of a case's journal, named by a hash because case ids may contain any character."""
    return folder / f"{hashlib.sha256(case_id.encode()).hexdigest()[:32]}.jsonl"


def _noted(text: Generation) -> list[Any]:
    thought = [] if text.thought is None else [text.thought.text, text.thought.closed]
    return [text.text, text.tokens, *thought]


def _generation(text: str, tokens: int, *thought: Any) -> Generation:
    return Generation(text, tokens, Thought(*thought) if thought else None)


def _key(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


def _read(path: Path) -> list[Any]:
    """Read the complete lines, and remove a last line that was cut short by a kill."""
    if not path.exists():
        return []
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if len(complete) < len(content):
        with path.open("r+b") as stream:
            stream.truncate(len(complete))
    return [json.loads(line) for line in complete.split(b"\n")[:-1]]
