"""`openai` against real HTTP servers on loopback that answer as servers do: well, busy, broken, slow, or not at all."""

from __future__ import annotations

import csv
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from eagbench.api import (
    ANSWER_LEVELS,
    STYLES,
    AnswerMode,
    Question,
    ResponseCache,
    Sampling,
    Thought,
    UserError,
    answer_cases,
    answer_prompts,
    prompt_text,
)
from eagbench.config.loading import load_benchmark
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.prompting.answer_cache import answering_from
from eagbench.registry.plugins import load_registry
from eagbench_plugins.datasets.physionet2012 import PhysioNet2012
from eagbench_plugins.policies import openai_server
from eagbench_plugins.policies.openai_compatible import OpenAIPolicy
from eagbench_plugins.policies.tiny.policy import TinyPolicy
from tests.builders import make_cases
from tests.local_server import LocalServer, Reply, Request, message, text

from .conftest import TINY

KEY = "sk-a-made-up-key-8472"
GREEDY = Sampling(50)
CASES = make_cases(2, {"lactate": 1.0}, seed=0).cases


@pytest.fixture
def serve() -> Iterator[Callable[..., LocalServer]]:
    """Starts servers that end with the test."""
    started = []

    def start(reply: Callable[[Request, int], Reply], port: int = 0) -> LocalServer:
        started.append(LocalServer(reply, port))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(autouse=True)
def alone(store_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of this test's own, short waits, and no server given up by another test."""
    monkeypatch.setattr(openai_server, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(openai_server.Server, "_given_up", set())
    monkeypatch.setenv("A_KEY", KEY)


def opened(url: str, **params: Any) -> Any:
    given = {"base_url": url, "model": "m", "endpoint": "completions", "patience_s": 5, "timeout_s": 5, **params}
    return OpenAIPolicy(OpenAIPolicy.Params(**given)).open(Path("nowhere"))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# What is asked, and what the answer means


def test_a_chat_is_asked_with_the_prompt_as_the_users_message(serve) -> None:
    server = serve(lambda request, _: Reply(message(content=" written")))
    model = opened(server.url + "/", endpoint="chat", api_key_env="A_KEY", extra={"top_k": 5, "top_p": None})
    (generation,) = model.generate(["prompt"], Sampling(9, temperature=0.5, stop=("</a>",)), seed=3)
    assert (generation.text, generation.tokens) == (" written", 3)
    (request,) = server.requests
    seed = request.body.pop("seed")
    assert 0 <= seed < 2**31
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "prompt"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_k": 5,
    }


def test_a_server_without_a_key_is_sent_none_whatever_the_environment_holds(serve, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = serve(lambda request, _: Reply(text("x")))
    opened(server.url).generate(["p"], GREEDY, 0)
    assert KEY not in str(server.requests[0])


def test_begun_answers_are_continued_where_the_server_can(serve) -> None:
    server = serve(lambda request, _: Reply(message(content="c") if "chat" in request.path else text("t")))
    assert opened(server.url).generate(["p "], GREEDY, 0, ["begun "])[0].text == "t"
    assert server.requests[-1].body["prompt"] == "p begun "
    chat = opened(server.url, endpoint="chat", continuation="continue_final_message")
    assert [g.text for g in chat.generate(["p", "q"], GREEDY, 0, ["begun", ""])] == ["c", "c"]
    begun, plain = sorted((r.body for r in server.requests[-2:]), key=lambda body: -len(body["messages"]))
    assert begun["messages"] == [{"role": "user", "content": "p"}, {"role": "assistant", "content": "begun"}]
    assert (begun["continue_final_message"], begun["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in plain
    before = len(server.requests)
    with pytest.raises(UserError, match="step-wise searches"):
        opened(server.url, endpoint="chat").generate(["p"], GREEDY, 0, ["begun"])
    assert len(server.requests) == before


@pytest.mark.parametrize(
    ("mode", "choice", "expected"),
    [
        ("cut_here", {"text": "a <x>1</x> and more"}, "a <x>1</x>"),
        ("cut_here", {"text": "never closed"}, "never closed"),
        ("sent", {"text": "a <x>1</x>"}, "a <x>1</x>"),
        ("sent", {"text": "a <x>1", "stop_reason": "</x>"}, "a <x>1</x>"),
        ("sent", {"text": "a <x>1", "stop_reason": None}, "a <x>1"),
        ("sent", {"text": "a <x>1", "stop_reason": 151645}, "a <x>1"),
    ],
)
def test_a_text_ends_with_its_stop_string_and_only_one_that_was_written(serve, mode, choice, expected) -> None:
    server = serve(lambda request, _: Reply(text("", **choice)))
    model = opened(server.url, stop_strings=mode)
    assert model.generate(["p"], Sampling(9, stop=("</x>",)), 0)[0].text == expected
    assert ("stop" in server.requests[-1].body) == (mode == "sent")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content": "a", "reasoning_content": "r"}, ("a", Thought("r"))),
        ({"content": "a", "reasoning": "r"}, ("a", Thought("r"))),
        ({"content": None, "reasoning_content": "cut off"}, ("", Thought("cut off", closed=False))),
        ({"content": None}, ("", None)),
    ],
)
def test_reasoning_that_a_server_sets_apart_is_the_thought(serve, fields, expected) -> None:
    server = serve(lambda request, _: Reply(message(**fields)))
    [written] = opened(server.url, endpoint="chat").generate(["p"], GREEDY, 0)
    assert (written.text, written.thought) == expected


@pytest.mark.parametrize("body", [{"choices": [{"text": "x"}]}, {"choices": [], "usage": {}}, {"error": None}, [1]])
def test_an_answer_without_text_or_usage_is_refused(serve, body) -> None:
    server = serve(lambda request, _: Reply(body))
    with pytest.raises(UserError, match="not in the form"):
        opened(server.url).generate(["p"], GREEDY, 0)


# Probabilities

NEXT = {
    "": {"0": 0.8, "0.0": 0.1, "1": 0.1},
    "0": {".": 0.9, "x": 0.1},
    "0.": {"0": 0.5, "05": 0.25, "1": 0.25},
    "0.0": {"5": 1.0},
    "0.1": {"0": 0.5, "5": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_candidates_probability_is_the_sum_over_the_ways_to_write_it(serve, endpoint) -> None:
    def reply(request: Request, count: int) -> Reply:
        chat = "messages" in request.body
        read = request.body["messages"][-1]["content"] if chat else request.body["prompt"]
        tokens = {t: math.log(p) for t, p in NEXT[read.partition("<a>")[2]].items()}
        if not chat:
            assert request.body["logprobs"] == 4
            return Reply(text("0", logprobs={"top_logprobs": [tokens]}))
        assert (request.body["logprobs"], request.body["top_logprobs"]) == (True, 4)
        top = [{"token": t, "logprob": p, "bytes": None} for t, p in tokens.items()]
        body = message(content="0")
        body["choices"][0]["logprobs"] = {"content": [{"token": "0", "logprob": 0, "top_logprobs": top}]}
        return Reply(body)

    server = serve(reply)
    model = opened(server.url, endpoint=endpoint, continuation="continue_final_message", logprobs=4)
    found = model.continuation_probabilities(["p", "q"], ["r<a>", "r<a>"], ["0.05", "0.10", "0.15", "0.20"])
    # "0" "." "0" "5", "0" "." "05" and "0.0" "5"; "0" "." "1" "0"; "0" "." "1" "5".
    expected = np.array([0.8 * 0.9 * 0.5 + 0.8 * 0.9 * 0.25 + 0.1, 0.8 * 0.9 * 0.125, 0.8 * 0.9 * 0.125, 0])
    np.testing.assert_allclose(found, np.tile(expected / expected.sum(), (2, 1)), rtol=1e-12)
    assert len(server.requests) == 2 * len(NEXT)


def test_the_levels_are_weighed_as_the_model_itself_does(serve, prepared) -> None:
    """The tiny policy behind a server that gives logprobs answers as it does on this machine."""
    import torch

    tiny = TinyPolicy(TINY).open(prepared.folder)
    lock = threading.Lock()

    def reply(request: Request, count: int) -> Reply:
        with lock, torch.inference_mode():
            prompt, bound = request.body["prompt"], request.body["max_tokens"]
            (written,) = tiny.generate([prompt], Sampling(bound), 0)
            ids = torch.tensor([tiny.tokenizer(prompt)["input_ids"]])
            top = tiny.model(ids).logits[0, -1].log_softmax(-1).topk(request.body.get("logprobs", 1))
            tokens = {tiny.tokenizer.decode([int(i)]): float(p) for p, i in zip(*top, strict=True)}
        usage = {"completion_tokens": written.tokens, "prompt_tokens": ids.shape[1]}
        return Reply({"choices": [{"text": written.text, "logprobs": {"top_logprobs": [tokens]}}], "usage": usage})

    server = serve(reply)
    model = opened(server.url, logprobs=100, concurrency=2)
    cases = prepared.held_out.select(range(6))
    style, answer = STYLES["question_decomposition"], AnswerMode(mode="expectation")
    here, there = (
        answer_cases(asked, cases, prepared.record_text, style, answer, seed=0, max_new_tokens=120)
        for asked in (tiny, model)
    )
    assert [p.probability for p in there] == [p.probability for p in here]
    assert sum(p.probability is not None for p in here) >= 3
    assert [p.trajectories[0].text for p in there] == [p.trajectories[0].text for p in here]


def test_a_server_without_logprobs_is_no_place_for_an_expectation(serve) -> None:
    server = serve(lambda request, _: Reply(text("0", logprobs=None)))
    for model in (opened(server.url), opened(server.url, logprobs=5)):
        with pytest.raises(UserError, match="expectation") as raised:
            model.continuation_probabilities(["p"], ["<a>"], ANSWER_LEVELS)
        assert "greedy" in raised.value.message
    other = serve(lambda request, _: Reply(text("0", logprobs={"top_logprobs": [{"no": -0.1}]})))
    with pytest.raises(UserError, match="1 of 1 answers none"):
        opened(other.url, logprobs=5).continuation_probabilities(["p"], ["<a>"], ANSWER_LEVELS)


# The cache


def test_nothing_is_asked_twice_and_what_differs_is_asked(serve) -> None:
    server = serve(lambda request, count: Reply(text(str(count))))

    def asked(url: str = server.url, seed: int = 0, sampling: Sampling = GREEDY, **params: Any) -> list[str]:
        return [g.text for g in opened(url, **params).generate(["p", "p", "q"], sampling, seed)]

    first = asked(concurrency=1)
    assert (first[0] == first[1], len(server.requests)) == (True, 2)
    assert asked(seed=1, timeout_s=9, patience_s=1, max_retries=1, concurrency=2) == first
    assert len(server.requests) == 2
    sampled = Sampling(50, temperature=1.0)
    different: list[dict[str, Any]] = [
        {"model": "n"}, {"extra": {"top_k": 1}}, {"sampling": Sampling(51)}, {"sampling": sampled},
        {"sampling": sampled, "seed": 1}, {"sampling": sampled, "seed": 2, "extra": {"seed": None}},
        {"sampling": sampled, "seed": 3, "extra": {"seed": None}}, {"extra": {"echo": False}},
    ]  # fmt: skip
    for change in different:
        before = len(server.requests)
        texts = asked(**change)
        assert len(server.requests) - before == (3 if change.get("sampling") == sampled else 2), change
        assert asked(**change) == texts
    total = len(server.requests)
    elsewhere = serve(lambda request, count: Reply(text("elsewhere")))
    assert asked(elsewhere.url) == ["elsewhere"] * 3  # the same name on another server
    assert len(server.requests) == total


def test_a_fresh_run_asks_again(serve, tmp_path: Path) -> None:
    server = serve(lambda request, count: Reply(text(str(count))))
    for fresh, expected in [(False, "0"), (False, "0"), (True, "1"), (False, "1")]:
        cache = ResponseCache(tmp_path / "responses", time.time() if fresh else 0.0)
        with answering_from(cache):
            assert opened(server.url).generate(["p"], GREEDY, 0)[0].text == expected
    assert cache.costs == {"answers_from_cache": 1, "prompt_tokens": 7, "completion_tokens": 3}


WRITER = """\
import sys
from pathlib import Path
from eagbench.prompting.answer_cache import ResponseCache

cache = ResponseCache(Path(sys.argv[1]))
for i in range(300):
    cache.put(cache.key({"i": i % 3}), {"text": sys.argv[2] * 20_000})
"""


def test_processes_share_the_cache_and_see_whole_answers(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), letter]) for letter in "ab"]
    cache, seen = ResponseCache(tmp_path), 0
    while any(writer.poll() is None for writer in writers):
        for i in range(3):
            answer = cache.get(cache.key({"i": i}))
            if answer is not None:
                assert answer["text"] in ("a" * 20_000, "b" * 20_000)
                seen += 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 3


def test_a_server_that_ignores_the_temperature_is_found_out(serve) -> None:
    samples = iter(range(10_000))
    honest = False
    server = serve(lambda request, _: Reply(text(f"{next(samples)}" if honest else "always this")))
    prompts = [f"p{i}" for i in range(8) for _ in range(2)]
    sampling = Sampling(50, temperature=1.0)
    with pytest.raises(UserError, match="does not sample"):
        opened(server.url).generate(prompts, sampling, 0)
    honest = True  # mended, and asked again
    assert len({g.text for g in opened(server.url).generate(prompts, sampling, 0)}) == len(prompts)
    honest = False
    assert len(opened(server.url, model="n").generate(prompts, GREEDY, 0)) == len(prompts)


# Failures that pass


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_busy_and_broken_servers_are_asked_again(serve, status, tmp_path: Path) -> None:
    server = serve(lambda request, count: Reply({}, status) if count < 3 else Reply(text("at last")))
    cache = ResponseCache(tmp_path)
    with answering_from(cache):
        assert opened(server.url).generate(["p"], GREEDY, 0)[0].text == "at last"
    assert len(server.requests) == 4
    assert cache.costs == {"answers_from_cache": 0, "requests": 4, "prompt_tokens": 7, "completion_tokens": 3}


def test_waits_grow(serve) -> None:
    server = serve(lambda request, count: Reply({}, 503) if count < 5 else Reply(text("x")))
    opened(server.url).generate(["p"], GREEDY, 0)
    times = [request.time for request in server.requests]
    waits = np.diff(times)
    assert (waits >= 0.02 * 0.5 * 2.0 ** np.arange(5)).all()


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept_to(serve, form) -> None:
    def reply(request: Request, count: int) -> Reply:
        after = "1" if form == "seconds" else formatdate(time.time() + 2.5, usegmt=True)
        return Reply(text("x")) if count else Reply({}, 429, {"Retry-After": after})

    server = serve(reply)
    opened(server.url).generate(["p"], GREEDY, 0)
    first, second = server.requests
    assert second.time - first.time >= 1


def test_a_server_that_wants_more_time_than_there_is_patience_is_given_up_at_once(serve) -> None:
    server = serve(lambda request, count: Reply({}, 429, {"Retry-After": "3600"}))
    with pytest.raises(UserError, match="left alone for 3600 s"):
        opened(server.url).generate(["p"], GREEDY, 0)
    assert len(server.requests) == 1


def test_a_slow_answer_is_asked_for_again(serve) -> None:
    server = serve(lambda request, count: Reply(text(str(count)), seconds=0 if count else 3))
    assert opened(server.url, timeout_s=0.5).generate(["p"], GREEDY, 0)[0].text != "0"


def test_retries_end_and_what_was_answered_is_kept(serve) -> None:
    broken = True

    def reply(request: Request, count: int) -> Reply:
        if broken and request.body["prompt"] == "bad":
            return Reply({"error": {"message": f"out of memory, {KEY}"}}, 500)
        return Reply(text("good"))

    server = serve(reply)
    params = {"concurrency": 1, "max_retries": 2, "api_key_env": "A_KEY"}
    with pytest.raises(UserError, match=r"answered 500: out of memory, \*\*\*, 3 times"):
        opened(server.url, **params).generate(["a", "b", "bad", "c"], GREEDY, 0)
    assert [request.body["prompt"] for request in server.requests] == ["a", "b", "bad", "bad", "bad"]
    broken = False
    assert [g.text for g in opened(server.url, **params).generate(["a", "b", "bad", "c"], GREEDY, 0)] == ["good"] * 4
    assert [request.body["prompt"] for request in server.requests[5:]] == ["bad", "c"]


def test_no_more_requests_at_once_than_allowed(serve) -> None:
    server = serve(lambda request, _: Reply(text(request.body["prompt"]), seconds=0.05))
    prompts = [str(i) for i in range(24)]
    assert [g.text for g in opened(server.url, concurrency=3).generate(prompts, GREEDY, 0)] == prompts
    assert server.most_at_once == 3


def test_a_server_that_comes_back_in_time_is_waited_for(serve) -> None:
    port = free_port()
    model = opened(f"http://127.0.0.1:{port}/v1", patience_s=20)
    later = threading.Timer(0.6, lambda: serve(lambda request, _: Reply(text("back")), port))
    later.start()
    started = time.monotonic()
    assert [g.text for g in model.generate(["p", "q"], GREEDY, 0)] == ["back", "back"]
    assert time.monotonic() - started >= 0.5
    later.join()


def test_a_server_that_stays_away_is_given_up_and_then_not_waited_for_again(serve) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    started = time.monotonic()
    with pytest.raises(UserError, match=r"could not be reached for [1-9]\d* s \(ConnectError\)") as raised:
        opened(url, patience_s=1).generate([str(i) for i in range(50)], GREEDY, 0)
    assert time.monotonic() - started >= 1
    assert url in raised.value.message
    assert "not asked again" in raised.value.message
    started = time.monotonic()
    with pytest.raises(UserError, match="could not be reached"):
        opened(url, patience_s=3600).generate(["p"], GREEDY, 0)
    assert time.monotonic() - started < 1800  # it did not wait its patience out
    serve(lambda request, _: Reply(text("back")), port)
    assert opened(url, patience_s=60).generate(["p"], GREEDY, 0)[0].text == "back"


# What is refused


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, {"error": {"message": f"context too long {KEY}"}}, "context too long ***"),
        (404, {"detail": "no such model"}, "no such model"),
        (422, {"detail": [{"msg": "unknown", "input": "the whole prompt"}]}, "refused a request (422)"),
        (401, {"error": {"message": f"wrong key {KEY[:8]}...{KEY[-4:]}"}}, "does not accept the key (401)"),
    ],
)
def test_a_refused_request_is_not_repeated_and_told_without_the_key(serve, status, body, said) -> None:
    server = serve(lambda request, _: Reply(body, status))
    with pytest.raises(UserError) as raised:
        opened(server.url, api_key_env="A_KEY", concurrency=1).generate(["p", "q"], GREEDY, 0)
    assert said in raised.value.message
    assert KEY not in raised.value.message
    assert KEY[-4:] not in raised.value.message
    assert "whole prompt" not in raised.value.message
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert len(server.requests) == 1


# Errors in answers of status 200


OVERLOADED = {"error": {"message": f"Rate limit exceeded, {KEY}", "code": 429}, "user_id": "u"}


@pytest.mark.parametrize(
    "body",
    [
        OVERLOADED,
        {"error": {"message": "slow down", "type": "rate_limit_error", "code": None}},
        {"error": "Model is overloaded", "error_type": "overloaded"},
        {"object": "error", "message": "busy", "code": "503"},
        [{"error": {"status": "UNAVAILABLE", "message": "busy", "code": 503}}],
        {"choices": None, "error": {"message": "upstream provider timed out", "code": 502}},
        {**text("half an answ"), "choices": [{"text": "half an answ", "error": {"code": 502, "message": "gone"}}]},
        {**text("half an answ"), "choices": [{"text": "half an answ", "finish_reason": "error"}]},
    ],
)
def test_an_error_in_an_answer_of_200_is_asked_again_by_its_kind(serve, body) -> None:
    server = serve(lambda request, count: Reply(text("at last")) if count else Reply(body))
    assert opened(server.url).generate(["p"], GREEDY, 0)[0].text == "at last"
    assert len(server.requests) == 2


def test_retries_of_an_error_in_an_answer_of_200_end_with_its_message_and_nothing_is_kept(serve) -> None:
    server = serve(lambda request, _: Reply(OVERLOADED))
    for _ in range(2):
        with pytest.raises(UserError, match=r"200 with an error 429: Rate limit exceeded, \*\*\*, 3 times"):
            opened(server.url, api_key_env="A_KEY", max_retries=2).generate(["p"], GREEDY, 0)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "no such model", "code": 404}}, "200 with an error 404: no such model"),
        ({"error": {"message": "insufficient credits", "code": 402}}, "200 with an error 402: insufficient credits"),
        ({"error": {"message": "bad", "type": "invalid_request_error"}}, "200 with an error: bad"),
        ({"error": {"code": 401, "message": KEY}}, "does not accept the key (401)"),
        ({"error": "no"}, "200 with an error: no"),
    ],
)
def test_an_error_in_an_answer_of_200_that_will_not_pass_is_not_repeated(serve, body, said) -> None:
    server = serve(lambda request, _: Reply(body))
    with pytest.raises(UserError) as raised:
        opened(server.url, api_key_env="A_KEY").generate(["p"], GREEDY, 0)
    assert said in raised.value.message
    assert KEY not in raised.value.message
    assert len(server.requests) == 1


def test_content_in_parts_is_read_if_it_is_text(serve) -> None:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]
    server = serve(lambda request, _: Reply(message(content=parts)))
    assert opened(server.url, endpoint="chat").generate(["p"], GREEDY, 0)[0].text == "a b"
    parts.append({"type": "image_url", "image_url": {"url": "x"}})
    with pytest.raises(UserError, match="not in the form"):
        opened(server.url, endpoint="chat").generate(["q"], GREEDY, 0)


# Prompts longer than the model reads


TOO_LONG_REPLIES = [
    (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400}),
    (400, {"error": {"message": "Reduce it.", "type": "invalid_request_error", "code": "context_length_exceeded"}}),
    (
        400,
        {"error": {"code": 400, "message": "exceeds the context size", "type": "exceed_context_size_error"}},
    ),
    (400, {"object": "error", "message": "The input (9 tokens) is longer than the model's context length (4 tokens)."}),
    (
        422,
        {"error": "Input validation error: `inputs` exceed max_input_length", "error_type": "validation"},
    ),
    (200, {"error": {"code": 400, "message": "This endpoint's maximum context length is 4096 tokens."}}),
]


@pytest.mark.parametrize(("status", "body"), TOO_LONG_REPLIES)
@pytest.mark.parametrize("mode", ["greedy", "mean_of_n", "expectation"])
def test_a_prompt_that_a_server_finds_too_long_fails_its_case_only(serve, prepared, status, body, mode) -> None:
    samples = iter(range(10_000))
    cases = prepared.held_out.select(range(4))
    style = STYLES["vanilla"]
    long = prompt_text(style, cases.items[2], cases, prepared.record_text)

    def reply(request: Request, _: int) -> Reply:
        if request.body["prompt"].startswith(long):
            return Reply(body, status)
        levels = {level: math.log(1 / len(ANSWER_LEVELS)) for level in ANSWER_LEVELS}
        return Reply(text(f"<answer>0.2</answer> {next(samples)}", logprobs={"top_logprobs": [levels]}))

    server = serve(reply)
    answer = AnswerMode(mode=mode, samples=2)
    model = opened(server.url, logprobs=20)
    found = answer_cases(model, cases, prepared.record_text, style, answer, seed=0, max_new_tokens=20)
    value = 0.5 if mode == "expectation" else 0.2
    assert [p.probability for p in found] == [value, value, None, value]
    assert [p.extras.get("too_long") for p in found] == [None, None, 1.0, None]
    before = len(server.requests)
    answer_cases(model, cases, prepared.record_text, style, answer, seed=0, max_new_tokens=20)
    # Only the refused prompt is sent again: a server started again may read more.
    assert {r.body["prompt"].startswith(long) for r in server.requests[before:]} == {True}


def test_a_begun_answer_that_a_server_finds_too_long_has_no_probabilities(serve) -> None:
    levels = {"0.1": -0.1}

    def reply(request: Request, _: int) -> Reply:
        if request.body["prompt"].startswith("long"):
            return Reply(TOO_LONG_REPLIES[0][1], 400)
        return Reply(text("0", logprobs={"top_logprobs": [levels]}))

    server = serve(reply)
    found = opened(server.url, logprobs=5).continuation_probabilities(["p ", "long "], ["<a>", "<a>"], ["0.1", "0.2"])
    np.testing.assert_array_equal(found, [[1, 0], [math.nan, math.nan]])


def test_other_refusals_still_end_the_cell(serve) -> None:
    server = serve(lambda request, _: Reply({"error": {"message": "max_tokens must be positive"}}, 400))
    with pytest.raises(UserError, match="refused a request"):
        opened(server.url).generate(["p"], GREEDY, 0)


def test_records_go_to_the_named_address_and_nowhere_else(serve, monkeypatch) -> None:
    other = serve(lambda request, _: Reply(text("caught")))
    server = serve(lambda request, _: Reply({}, 307, {"Location": other.url + "/completions"}))
    with pytest.raises(UserError, match="sends requests elsewhere"):
        opened(server.url).generate(["p"], GREEDY, 0)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, other.url.removesuffix("/v1"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    local = serve(lambda request, _: Reply(text("local")))
    assert opened(local.url).generate(["p"], GREEDY, 0)[0].text == "local"
    assert not other.requests


@pytest.mark.parametrize("value", ["", "   ", "a\nb", "schlüssel"])
def test_a_variable_that_holds_no_key_is_named_and_not_quoted(monkeypatch, value) -> None:
    monkeypatch.setenv("A_KEY", value)
    with pytest.raises(UserError, match="A_KEY holds no key") as raised:
        opened("http://127.0.0.1:1/v1", api_key_env="A_KEY")
    assert "schl" not in raised.value.message


@pytest.mark.parametrize(
    "params",
    [
        {"base_url": "http://user:geheim@host/v1"},
        {"base_url": "http://host/v1?key=geheim"},
        {"base_url": "geheim"},
        {"base_url": "http://h/v1", "api_key_env": "sk-geheim"},
    ],
)
def test_a_secret_in_the_yaml_is_refused_and_not_repeated(params, cli, physionet_root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        OpenAIPolicy.Params(model="m", **params)
    done = cli("plan", _benchmark(tmp_path, physionet_root, {"name": "openai", "model": "m", **params}))
    assert done.code == 2
    assert "policy" in done.err
    assert "geheim" not in done.out + done.err


# Credentialed data


@pytest.mark.parametrize(
    ("url", "leaves"),
    [
        ("http://127.0.0.1:8000/v1", False),
        ("http://127.8.9.1/v1", False),
        ("http://localhost:8000/v1", False),
        ("http://[::1]:8000/v1", False),
        ("http://0.0.0.0:8000/v1", True),
        ("http://192.168.0.7:8000/v1", True),
        ("http://localhost.example.org/v1", True),
        ("https://api.example.org/v1", True),
    ],
)
def test_credentialed_records_leave_the_machine_only_if_attested(
    url, leaves, physionet_root: Path, tmp_path: Path, monkeypatch
) -> None:
    policy = {"name": "openai", "model": "m", "base_url": url}
    assert OpenAIPolicy(OpenAIPolicy.Params(model="m", base_url=url)).traits.leaves_machine is leaves
    benchmark = _benchmark(tmp_path, physionet_root, policy)

    def plan(*sets: str) -> int:
        store = Store.open(tmp_path / "planned")
        return len(make_plan(load_benchmark(benchmark, sets=sets), load_registry(), store).nodes)

    stages = plan()  # open data: anything goes
    monkeypatch.setattr(PhysioNet2012, "access", lambda self: "credentialed")
    if leaves:
        with pytest.raises(UserError, match=r"'openai' sends records to another machine.*credentialed") as raised:
            plan()
        assert "b.yaml" in raised.value.message
    assert plan("attestation=The agreement of 2026 names this server.") == stages
    assert leaves or plan() == stages


def test_a_metric_of_attention_is_refused_while_planning(physionet_root: Path, tmp_path: Path) -> None:
    """Before anything was asked: a server gives no attention. Without a reference expert nothing reads it."""
    policy = {"name": "openai", "model": "m", "base_url": "http://127.0.0.1:8000/v1"}
    benchmark, store = _benchmark(tmp_path, physionet_root, policy), Store.open(tmp_path / "planned")
    sets = ["metrics=[auroc, attention_mass]"]
    assert make_plan(load_benchmark(benchmark, sets=sets), load_registry(), store).cells
    sets.append("reference_expert=lightgbm")
    with pytest.raises(UserError, match="'openai' does not give its attention, and attention_mass can't do without it"):
        make_plan(load_benchmark(benchmark, sets=sets), load_registry(), store)


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({}, False),
        ({"logprobs": 20}, False),
        ({"continuation": "continue_final_message"}, False),
        ({"endpoint": "completions"}, False),
        ({"logprobs": 20, "continuation": "continue_final_message"}, True),
        ({"logprobs": 20, "endpoint": "completions"}, True),
    ],
)
def test_an_expectation_is_refused_while_planning_where_the_server_gives_none(
    physionet_root: Path, tmp_path: Path, more, fits
) -> None:
    policy = {"name": "openai", "model": "m", "base_url": "http://127.0.0.1:8000/v1", **more}
    benchmark, store = _benchmark(tmp_path, physionet_root, policy), Store.open(tmp_path / "planned")
    assert make_plan(load_benchmark(benchmark), load_registry(), store).cells
    loaded = load_benchmark(benchmark, sets=["answer=expectation"])
    if fits:
        assert make_plan(loaded, load_registry(), store).cells
        return
    with pytest.raises(UserError, match="answer: expectation") as raised:
        make_plan(loaded, load_registry(), store)
    assert "greedy" in raised.value.message


def _benchmark(folder: Path, root: Path, policy: dict[str, Any]) -> Path:
    tree = {
        "name": "asked",
        "data": {"name": "physionet2012", "root": str(root)},
        "policy": policy,
        "methods": ["prompt"],
        "metrics": ["auroc"],
    }
    (folder / "b.yaml").write_text(yaml.safe_dump(tree))
    return folder / "b.yaml"


# Models that think

DRAFT, OPENING, CLOSING = "The format asks for {}, perhaps. No.", "<think>\n", "\n</think>\n\n"
HARMONY = "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"
THOUGHTS = {
    "field": lambda draft, answer: {"content": answer, "reasoning_content": draft},
    "field that names the tag": lambda draft, answer: {"content": answer, "reasoning": f"{draft}</think>{draft}"},
    "inline": lambda draft, answer: {"content": OPENING + draft + CLOSING + answer},
    "headless": lambda draft, answer: {"content": draft + CLOSING + answer},
    "harmony": lambda draft, answer: {"content": HARMONY[0] + draft + HARMONY[1] + answer},
    "harmony without its tokens": lambda draft, answer: {"content": f"analysisWell. {draft}assistantfinal{answer}"},
}


def answered(model: Any, style: str, mode: str = "greedy") -> list[Any]:
    answer = AnswerMode(mode=mode)
    return answer_prompts(Question(model, STYLES[style], answer, 0, 50), CASES, ["p"] * 2)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("form", THOUGHTS)
@pytest.mark.parametrize("mentioned", [False, True])
def test_a_draft_in_the_thought_is_not_the_answer(serve, style: str, form: str, mentioned: bool) -> None:
    tag, close = STYLES[style].answer_open, STYLES[style].answer_close
    draft = DRAFT.format(tag if mentioned else f"{tag}0.90{close}")
    body = message(**THOUGHTS[form](draft, f"{tag}0.20{close}"))
    model = opened(serve(lambda request, _: Reply(body)).url, endpoint="chat")
    for prediction in answered(model, style):
        assert prediction.probability == 0.2
        assert draft in prediction.trajectories[0].verbatim


@pytest.mark.parametrize("form", [{"content": OPENING + DRAFT}, {"content": None, "reasoning": DRAFT}])
def test_a_servers_thought_that_never_ends_is_unparsed_and_counted(serve, form) -> None:
    form = {name: value and value.format("<answer>0.90</answer>") for name, value in form.items()}
    model = opened(serve(lambda request, _: Reply(message(**form))).url, endpoint="chat")
    [found, _] = [prediction.trajectories[0] for prediction in answered(model, "vanilla")]
    assert (found.probability, found.truncated_thought) == (None, True)


def test_a_thought_that_the_template_opens_may_show_no_tag_when_it_is_cut_off(serve) -> None:
    draft = DRAFT.format("<answer>0.90</answer>")

    def reply(request: Request, _: int) -> Reply:
        if request.body["prompt"] == "long":
            return Reply(text(draft, finish_reason="length"))
        if request.body["prompt"] == "answer":
            return Reply(text("<answer>0.30</answer>", finish_reason="stop"))
        return Reply(text(f"{draft}{CLOSING}<answer>0.20</answer>", finish_reason="stop"))

    server = serve(reply)
    sampling = Sampling(50, stop=("</answer>",))
    found = opened(server.url).generate(["short", "long", "answer"], sampling, 0)
    assert [generation.text.strip() for generation in found] == ["<answer>0.20</answer>", "", "<answer>0.30</answer>"]
    assert found[1].thought == Thought(draft, closed=False)
    # Alone, only the declaration tells that it is a thought.
    assert opened(server.url, thought="opened").generate(["long"], sampling, 0)[0].text == ""
    assert opened(server.url).generate(["long"], sampling, 0)[0].text.endswith("</answer>")


@pytest.mark.parametrize("form", ["field", "inline", "headless"])
def test_no_stop_string_is_sent_to_a_model_that_thinks(serve, form: str) -> None:
    draft = DRAFT.format("<answer>0.90</answer>")

    def reply(request: Request, _: int) -> Reply:
        if "stop" in request.body:
            return Reply(message(content=draft[: draft.index("</answer>") + 9]))
        return Reply(message(**THOUGHTS[form](draft, "<answer>0.20</answer> and more")))

    server = serve(reply)
    model = opened(server.url, endpoint="chat", stop_strings="sent")
    found = model.generate(["p", "q", "r"], Sampling(50, stop=("</answer>",)), 0)
    assert [generation.text.strip() for generation in found] == ["<answer>0.20</answer>"] * 3
    assert not any("stop" in request.body for request in server.requests)
    assert len(server.requests) == 3  # the question that finds out is one of them
    opened(server.url, endpoint="chat", stop_strings="sent", thought="none").generate(
        ["s"], Sampling(9, stop=("x",)), 0
    )
    assert server.requests[-1].body["stop"] == ["x"]


def test_a_thought_that_shows_later_ends_the_sending_of_stop_strings(serve) -> None:
    def reply(request: Request, _: int) -> Reply:
        thinks = request.body["prompt"] != "easy"
        return Reply(text(f"<think>{DRAFT}</think><answer>0.20</answer>" if thinks else "<answer>0.10</answer>"))

    server = serve(reply)
    found = opened(server.url, stop_strings="sent").generate(["easy", "hard"], Sampling(50, stop=("</answer>",)), 0)
    assert [generation.text for generation in found] == ["<answer>0.10</answer>", "<answer>0.20</answer>"]
    assert "stop" not in server.requests[-1].body


def test_an_expectation_after_a_thought_needs_the_endpoint_completions(serve) -> None:
    thought = f"<think>{DRAFT.format('<answer>0.90</answer>')}</think>"

    def reply(request: Request, _: int) -> Reply:
        if request.body["max_tokens"] > 1:
            body = message if "messages" in request.body else lambda content: text(content)
            return Reply(body(content=f"{thought}<answer>0.20</answer>"))
        digit = {"": "0", "0": ".", "0.": "2", "0.2": "0"}[request.body["prompt"].partition(f"p{thought}<answer>")[2]]
        return Reply(text(digit, logprobs={"top_logprobs": [{digit: 0.0}]}))

    server = serve(reply)
    assert [p.probability for p in answered(opened(server.url, logprobs=5), "vanilla", "expectation")] == [0.2, 0.2]
    chat = opened(server.url, endpoint="chat", continuation="continue_final_message", logprobs=5)
    with pytest.raises(UserError, match=r"after the model's thought on the endpoint `chat`"):
        answered(chat, "vanilla", "expectation")


def test_equal_answers_after_different_thoughts_are_samples(serve) -> None:
    server = serve(lambda request, n: Reply(message(content="<answer>0.20</answer>", reasoning=f"thought {n}")))
    prompts = [f"p{i}" for i in range(8) for _ in range(2)]
    assert len(opened(server.url, endpoint="chat").generate(prompts, Sampling(9, temperature=1.0), 0)) == 16


def test_a_run_counts_the_thoughts_that_never_ended(serve, cli, physionet_root: Path, tmp_path: Path) -> None:
    body = message(content=OPENING + DRAFT.format("<answer>0.90</answer>"))
    url = serve(lambda request, _: Reply(body)).url
    benchmark = _benchmark(tmp_path, physionet_root, {"name": "openai", "model": "m", "base_url": url})
    done = cli("run", benchmark, "--quiet", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    with (tmp_path / "run" / "costs.csv").open() as stream:
        counted = {row["kind"]: int(row["truncated_thought"]) for row in csv.DictReader(stream)}
    kept = (tmp_path / "run" / "trajectories" / "prompt.jsonl").read_text().splitlines()
    assert counted["predict"] == len(kept) > 0
    assert counted["score"] == 0
    assert f"{len(kept)} texts ended inside the model" in (tmp_path / "run" / "report.html").read_text()
    assert '"thought": "<think>' in kept[0]
