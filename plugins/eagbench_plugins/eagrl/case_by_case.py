"""Search many cases at once, each in its own time, while the policy writes for all of them together.

A search that goes through its cases in rounds waits in every round for the longest text. Here each case is searched by
itself, in a thread that sleeps while its texts are written; a case whose texts are finished goes on at once
(`WritesOn`). Only one thread runs at a time, and they are woken in the order in which their texts were asked for. So
the course of all searches depends on the policy's texts alone. What computes with the policy runs in the calling
thread.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from eagbench.api import (
    FloatArray,
    Generation,
    LanguageModel,
    Sampling,
    Search,
    SearchResult,
    SearchTask,
    WritesOn,
    count_tokens,
)


def search_case_by_case(
    search: Search, model: WritesOn, tasks: Sequence[SearchTask], read: Callable[..., Any], token_budget: int, seed: int
) -> list[SearchResult]:
    """Search every task for itself, all of them at once.

    Args:
        search: The search; its traits say `case_by_case`.
        model: The policy. What it read before is forgotten, so that the bits do not depend on it.
        tasks: The cases.
        read: The style's strict reader.
        token_budget: Maximum number of tokens to write per case.
        seed: Seed of the sampling.

    Returns:
        One result per task, in their order.
    """
    model.forget()
    cases = [_CaseThread(task, model) for task in tasks]
    waiting: dict[int, _CaseThread] = {}

    def see_to(case: _CaseThread, asked: _Texts | _Call | None) -> None:
        while isinstance(asked, _Call):
            asked = case.go_on(asked.function())
        if asked is not None:
            waiting[model.take_up(*asked.arguments)] = case

    def searched(case: _CaseThread, policy: LanguageModel) -> list[SearchResult]:
        def read_outside(*arguments: Any) -> Any:
            return case.ask(_Call(lambda: read(*arguments)))

        return list(search.run(policy, [case.task], read_outside, token_budget, seed))

    with ThreadPoolExecutor(max(1, len(cases)), thread_name_prefix="search") as threads:
        try:
            for case in cases:
                see_to(case, case.start(threads, partial(searched, case)))
            while waiting:
                for number, texts in model.write_on().items():
                    count_tokens(sum(text.tokens for text in texts))
                    case = waiting.pop(number)
                    see_to(case, case.go_on(texts))
            return [case.result() for case in cases]
        finally:
            for case in cases:
                case.stop()
            model.forget()


@dataclass(frozen=True, slots=True)
class _Texts:
    """What a search asks for: the arguments of `LanguageModel.generate`."""

    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Call:
    """What a search wants computed at once, in the calling thread. What it raises ends all searches."""

    function: Callable[[], Any]


class _Stopped(BaseException):
    """Unwinds a search that nobody waits for any more."""


class _CaseThread:
    """The search of one case, in a thread that only runs within `go_on`."""

    def __init__(self, task: SearchTask, model: LanguageModel) -> None:
        self.task = task
        self._model = model
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._questions: SimpleQueue[Any] = SimpleQueue()
        self._found: Future[list[SearchResult]] | None = None

    def start(self, threads: Executor, search: Callable[[LanguageModel], list[SearchResult]]) -> _Texts | _Call | None:
        """Begin the search, and run it up to its first question; None at its end."""
        self._found = threads.submit(contextvars.copy_context().run, search, _Asking(self, self._model))
        self._found.add_done_callback(lambda _: self._questions.put(None))
        return self._next()

    def go_on(self, answer: Any) -> _Texts | _Call | None:
        """Hand over an answer, and run the search up to its next question; None at its end."""
        self._answers.put(answer)
        return self._next()

    def _next(self) -> _Texts | _Call | None:
        asked: _Texts | _Call | None = self._questions.get()
        if asked is None:
            self.result()  # raises what the search raised
        return asked

    def ask(self, question: _Texts | _Call) -> Any:
        """Ask, in the search's thread, and sleep until there is an answer."""
        self._questions.put(question)
        answer = self._answers.get()
        if isinstance(answer, _Stopped):
            raise answer
        return answer

    def result(self) -> SearchResult:
        """Return what the search found, or raise what it raised."""
        assert self._found is not None
        (result,) = self._found.result()
        return result

    def stop(self) -> None:
        """End the search if it still waits for an answer."""
        if self._found is not None and not self._found.done():
            self._answers.put(_Stopped())


class _Asking:
    """The language model that a search in a thread is given."""

    def __init__(self, case: _CaseThread, model: LanguageModel) -> None:
        self._case, self._model = case, model

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """Have one text per prompt written, together with those of the other cases."""
        texts: list[Generation] = self._case.ask(_Texts((prompts, sampling, seed, written)))
        return texts

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> FloatArray:
        """Compute the probability of each candidate as the next text, (len(prompts), len(candidates))."""
        found: FloatArray = self._case.ask(
            _Call(lambda: self._model.continuation_probabilities(prompts, written, candidates))
        )
        return found
