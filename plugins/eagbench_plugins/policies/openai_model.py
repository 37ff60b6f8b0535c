"""A model on an OpenAI-compatible server as a `LanguageModel`: requests, what the answers mean, and what is cached.

Every sampled text has its own seed, derived from the seed, the prompt and how often the prompt occurred before. Whether
equal requests get equal answers is up to the server; an answer that was received once is kept (`ResponseCache`).
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from eagbench.api import Generation, Sampling, ThoughtFormat, UserError, response_cache
from eagbench_plugins.policies.openai_answers import Answer, Response, TextChoice, Usage
from eagbench_plugins.policies.openai_params import OpenAIParams
from eagbench_plugins.policies.openai_server import CalledOffError, Server, TooLongError
from eagbench_plugins.policies.openai_thoughts import format_after, shows_thought, thoughts_and_texts

# So many prompts with all their sampled texts alike: the server does not sample.
_ENOUGH_PROMPTS = 8


@dataclass(frozen=True, slots=True)
class Question:
    """A request.

    Attributes:
        path: Where it is sent, below the server's address.
        body: JSON values.
        draw: If the answer is sampled, the seed and how often the same was requested before; else None.
    """

    path: str
    body: dict[str, Any]
    draw: tuple[int, int] | None = None


class OpenAIModel:
    """A model that a server offers under a name.

    Args:
        server: Where requests are sent.
        params: The model's name and how to request its answers.
    """

    def __init__(self, server: Server, params: OpenAIParams) -> None:
        self._server, self._params = server, params
        self._cache = response_cache()
        self._thinks = params.thought == "opened"

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """Generate one text per prompt, with up to `concurrency` requests at once.

        Raises:
            UserError: The server failed permanently, can't do what is requested, or gives the same text for every
                sample.
        """
        begun = [""] * len(prompts) if written is None else written
        occurred: Counter[tuple[str, str]] = Counter()
        questions = []
        formats = [format_after(self._params, text) for text in begun]
        for prompt, text in zip(prompts, begun, strict=True):
            body: dict[str, Any] = {
                "max_tokens": sampling.max_new_tokens,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
            }
            draw = None
            if sampling.temperature > 0:
                draw = seed, occurred[prompt, text]
                occurred[prompt, text] += 1
                body["seed"] = _seed(draw, prompt + text)
            questions.append(self._question(prompt, text, body, draw))
        questions, answers = self._ask_with_stop(questions, sampling.stop, formats)
        if sampling.temperature > 0:
            self._check_sampled(list(zip(prompts, begun, strict=True)), questions, answers)
        return [
            Generation(
                _cut(text, answer.stop, sampling.stop),
                answer.usage.completion_tokens,
                thought,
                too_long=answer.too_long,
            )
            for answer, (thought, text) in zip(answers, thoughts_and_texts(answers, formats), strict=True)
        ]

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Compute the probability of each candidate as the next text, normalised over candidates.

        A candidate's probability is the sum over all ways to write it in tokens that are among the likeliest at each
        position. Tokens that the server does not list count as 0. No candidate may be a prefix of another.

        Returns:
            Shape (len(prompts), len(candidates)), rows summing to 1; a row of NaN where the server finds the text too
            long.

        Raises:
            UserError: The server gives no such probabilities, or no candidate is among the likeliest.
        """
        if not self._params.logprobs:
            raise self._cannot("weigh levels by their probability (answer: expectation) without `logprobs`")
        for text in written:
            self._check_begun(text)
        rows = [_Weighing(candidates) for _ in prompts]
        while True:
            # The shortest beginnings first: all that leads to one is known when it is asked about.
            waiting = [(i, row.next()) for i, row in enumerate(rows)]
            asked = [(i, text) for i, text in waiting if text is not None]
            if not asked:
                break
            questions = [self._next_token(prompts[i], written[i] + text) for i, text in asked]
            for (i, text), answer in zip(asked, self._ask(questions), strict=True):
                if answer.too_long:
                    rows[i].give_up()
                    continue
                if answer.likeliest is None:
                    raise self._cannot("weigh levels by their probability (answer: expectation): it gives no logprobs")
                rows[i].add(text, answer.likeliest)
        weights = np.array([[row.found[c] for c in candidates] for row in rows]).reshape(len(rows), len(candidates))
        totals = weights.sum(axis=1, keepdims=True)
        unseen = int((totals == 0).sum())
        if unseen:
            raise self._cannot(
                f"weigh levels: for {unseen} of {len(rows)} answers none is among its {self._params.logprobs} likeliest"
            )
        return np.asarray(weights / totals)

    def _ask_with_stop(
        self, questions: list[Question], stop: Sequence[str], formats: Sequence[ThoughtFormat]
    ) -> tuple[list[Question], list[Answer]]:
        """Send the stop strings with the questions, unless the model thinks: they would end a thought at a draft.

        Whether it thinks shows in the answer to the first question, asked without them, and in every other answer.
        """
        if self._params.stop_strings == "sent" and stop and questions and not self._thinks:
            if self._params.thought == "read":
                self._thinks = shows_thought(self._ask(questions[:1]), formats[:1])
            if not self._thinks:
                stopping = [replace(q, body={**q.body, "stop": list(stop)}) for q in questions]
                answers = self._ask(stopping)
                self._thinks = self._params.thought == "read" and shows_thought(answers, formats)
                if not self._thinks:
                    return stopping, answers
        return questions, self._ask(questions)

    def _check_begun(self, written: str) -> None:
        """Refuse to continue an answer that follows a thought where the server's template may drop or move it."""
        if self._params.endpoint == "chat" and format_after(self._params, "").split(written)[0] is not None:
            raise self._cannot(
                "weigh levels by their probability (answer: expectation) after the model's thought on the endpoint"
                " `chat`, where its template decides what becomes of a thought"
            )

    def _next_token(self, prompt: str, written: str) -> Question:
        count = self._params.logprobs
        on_chat = self._params.endpoint == "chat"
        fields: dict[str, Any] = {"logprobs": True, "top_logprobs": count} if on_chat else {"logprobs": count}
        return self._question(prompt, written, {"max_tokens": 1, "temperature": 0.0, **fields})

    def _question(
        self, prompt: str, written: str, body: dict[str, Any], draw: tuple[int, int] | None = None
    ) -> Question:
        asked: dict[str, Any]
        if self._params.endpoint == "completions":
            path, asked = "completions", {"prompt": prompt + written}
        else:
            path, asked = "chat/completions", {"messages": [{"role": "user", "content": prompt}]}
            if written:
                if not self._params.continues_answers:
                    raise self._cannot(
                        "continue a begun answer, which step-wise searches and `answer: expectation` need,"
                        " on the endpoint `chat`"
                    )
                asked["messages"].append({"role": "assistant", "content": written})
                asked |= {"continue_final_message": True, "add_generation_prompt": False}
        merged = {"model": self._params.model, **asked, **body, **self._params.extra}
        return Question(path, {key: value for key, value in merged.items() if value is not None}, draw)

    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        """Take answers from the cache and request the missing ones from the server, each question once."""
        keys = [self._key(question) for question in questions]
        by_key = dict(zip(keys, questions, strict=True))
        kept = {key: answer for key in by_key if (answer := self._cache.get(key)) is not None}
        known = {key: Answer.model_validate(answer) for key, answer in kept.items()}
        self._cache.add_cost("answers_from_cache", len(known))
        called_off = threading.Event()
        pool = ThreadPoolExecutor(self._server.concurrency)
        try:
            futures = {
                pool.submit(self._ask_server, key, question, called_off): key
                for key, question in by_key.items()
                if key not in known
            }
            for future in as_completed(futures):
                if not isinstance(future.exception(), CalledOffError):  # the failure itself is still to come
                    known[futures[future]] = future.result()
        finally:
            # On failure what is under way may still be answered, and is kept; nothing more is sent.
            called_off.set()
            pool.shutdown(wait=False, cancel_futures=True)
        answers = [known[key] for key in keys]
        self._cache.add_cost("prompt_tokens", sum(answer.usage.prompt_tokens for answer in answers))
        self._cache.add_cost("completion_tokens", sum(answer.usage.completion_tokens for answer in answers))
        return answers

    def _key(self, question: Question) -> str:
        return self._cache.key(
            {
                "server": self._server.base_url,
                "path": question.path,
                "body": question.body,
                "draw": None if question.draw is None else list(question.draw),
            }
        )

    def _ask_server(self, key: str, question: Question, called_off: threading.Event) -> Answer:
        try:
            value, sent = self._server.post(question.path, question.body, called_off)
            self._cache.add_cost("requests", sent)
            answer = self._answer(value)
        except TooLongError:
            # Not kept: a server that is started again may read more.
            return Answer(text="", usage=Usage(completion_tokens=0), too_long=True)
        except UserError:
            called_off.set()
            raise
        self._cache.put(key, answer.model_dump())
        return answer

    def _answer(self, value: Any) -> Answer:
        try:
            response = Response.model_validate(value)
        except ValidationError as error:
            parts = {str(e["loc"][0]) if e["loc"] else "all" for e in error.errors(include_input=False)}
            # Without the cause: it repeats what the server wrote.
            raise UserError(
                f"an answer of the server is not in the form of OpenAI's interface: {', '.join(sorted(parts))}",
                where=f"policy openai, {self._server.base_url}",
                hint="ask an OpenAI-compatible server, one that reports its usage of tokens",
            ) from None
        choice = response.choices[0]
        if isinstance(choice, TextChoice):
            text, thought = choice.text, None
        else:
            text = choice.message.content or ""
            thought = choice.message.reasoning_content or choice.message.reasoning
        stop = choice.stop_reason if isinstance(choice.stop_reason, str) else None
        likeliest = None if choice.logprobs is None else choice.logprobs.first()
        return Answer(
            text=text,
            thought=thought or None,
            usage=response.usage,
            stop=stop,
            cut_off=choice.finish_reason == "length",
            likeliest=likeliest,
        )

    def _check_sampled(
        self, asked: Sequence[tuple[str, str]], questions: Sequence[Question], answers: Sequence[Answer]
    ) -> None:
        """Refuse a server that ignores the temperature: the mean of n equal texts would pass for a mean of samples."""
        texts: defaultdict[tuple[str, str], list[tuple[str | None, str]]] = defaultdict(list)
        for key, answer in zip(asked, answers, strict=True):
            if not answer.too_long:
                texts[key].append((answer.thought, answer.text))
        repeated = [group for group in texts.values() if len(group) > 1]
        if len(repeated) < _ENOUGH_PROMPTS or any(len(set(group)) > 1 for group in repeated):
            return
        for question in questions:  # once the server samples, it is to be asked again
            self._cache.forget(self._key(question))
        raise UserError(
            f"the server does not sample: for each of {len(repeated)} prompts all its texts are the same",
            where=f"policy openai, {self._server.base_url}",
            hint="use `answer: greedy`, or let the server sample (transformers serve: `do_sample: true` in the model's"
            " generation_config.json)",
        )

    def _cannot(self, what: str) -> UserError:
        return UserError(
            f"this server can't {what}",
            where=f"policy openai, {self._server.base_url}",
            hint="use `answer: greedy` or `mean_of_n`, and methods that write whole answers; docs/prompting.md has what"
            " a server needs for more",
        )


class _Weighing:
    """The probabilities of one row's candidates, found token by token.

    Attributes:
        found: Probability of each candidate so far.
    """

    def __init__(self, candidates: Sequence[str]) -> None:
        self.found = dict.fromkeys(candidates, 0.0)
        self._open = {"": 1.0}  # beginnings of candidates, by their probability

    def next(self) -> str | None:
        """Return the shortest beginning whose next token must be requested, None if there is none left."""
        return min(self._open, key=len, default=None)

    def give_up(self) -> None:
        """Leave the row without an answer."""
        self.found = dict.fromkeys(self.found, math.nan)
        self._open = {}

    def add(self, begun: str, likeliest: Sequence[tuple[str, float]]) -> None:
        """Extend a beginning by the tokens that may follow it, with their log-probabilities."""
        mass = self._open.pop(begun)
        for token, logprob in likeliest:
            text = begun + token
            if not token:
                continue
            if text in self.found:
                self.found[text] += mass * math.exp(logprob)
            elif any(candidate.startswith(text) for candidate in self.found):
                self._open[text] = self._open.get(text, 0.0) + mass * math.exp(logprob)


def _cut(text: str, stopped_by: str | None, stop: Sequence[str]) -> str:
    """Cut the text after the first stop string."""
    ends = [text.find(string) + len(string) for string in stop if string in text]
    if ends:
        return text[: min(ends)]
    return text + stopped_by if stopped_by is not None and stopped_by in stop else text


def _seed(draw: tuple[int, int], prompt: str) -> int:
    """Derive a seed of 31 bits, which every server accepts."""
    return int.from_bytes(hashlib.sha256(f"{draw[0]}\0{draw[1]}\0{prompt}".encode()).digest()[:4], "little") >> 1
