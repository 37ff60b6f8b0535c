"""`openai` against a real server: `transformers serve` on loopback, with a tiny policy on disk."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from eagbench.api import STYLES, AnswerMode, UserError, answer_cases
from eagbench_plugins.policies.openai_compatible import OpenAIPolicy
from eagbench_plugins.policies.tiny.policy import TinyPolicy
from tests.conftest import Finished

from .conftest import TINY, Prepared

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
KEY = "sk-a-made-up-key-5519"
SERVED = '"POST /v1/chat/completions HTTP/1.1" 200'

pytestmark = pytest.mark.slow


class Served:
    """`transformers serve` in a process of its own, which can be killed and started again."""

    def __init__(self, folder: Path, log: Path) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.folder, self.log = folder, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Waits until it answers."""
        code = "from transformers.cli.transformers import main; main()"
        options = ["serve", str(self.folder), "--device", "cpu", "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, *options],
                stdout=stream,
                stderr=stream,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )
        deadline = time.monotonic() + 900
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).close()
                return
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def answered(self) -> int:
        """How many chats it answered, by its own log."""
        return self.log.read_text().count(SERVED)


@pytest.fixture
def served(prepared: Prepared, tmp_path: Path) -> Iterator[Served]:
    """A server of the tiny policy, with a chat template, that samples if it is told a temperature."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "served"
    tokenizer = AutoTokenizer.from_pretrained(prepared.folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(prepared.folder)
    model.generation_config.do_sample = True
    model.save_pretrained(folder)
    server = Served(folder, tmp_path / "server.log")
    server.start()
    yield server
    server.kill()


def test_its_answers_are_the_models_own(served: Served, prepared: Prepared, store_folder: Path) -> None:
    pytest.importorskip("fastapi")
    style, cases = STYLES["question_decomposition"], prepared.held_out.select(range(8))

    def asked(mode: str, model: Any) -> Any:
        answer = AnswerMode.model_validate({"mode": mode, "samples": 2})
        return answer_cases(model, cases, prepared.record_text, style, answer, seed=5, max_new_tokens=120)

    tiny = asked("greedy", TinyPolicy(TINY).open(prepared.folder))
    for endpoint, stop_strings, extra_tokens in [("chat", "cut_here", 1), ("completions", "sent", 0)]:
        params = {"endpoint": endpoint, "stop_strings": stop_strings, "concurrency": 2}
        model = _policy(served, **params).open(Path("nowhere"))
        answers = asked("greedy", model)
        assert [p.probability for p in answers] == [p.probability for p in tiny]
        assert sum(p.probability is not None for p in answers) >= 6
        for mine, its in zip(answers, tiny, strict=True):
            assert mine.trajectories[0].text == its.trajectories[0].text
            # Unless it is told the stop string, it writes on to the end token, which counts.
            if its.probability is not None:
                assert mine.trajectories[0].generated_tokens == its.trajectories[0].generated_tokens + extra_tokens
    sampled = asked("mean_of_n", model)
    assert len({t.text for p in sampled for t in p.trajectories}) > len(cases)
    with pytest.raises(UserError, match="gives no logprobs"):
        asked("expectation", _policy(served, endpoint="completions", logprobs=5).open(Path("nowhere")))


def test_killed_in_the_middle_of_a_run(
    served: Served,
    physionet_root: Path,
    store_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_command: Callable[..., Finished],
) -> None:
    monkeypatch.setenv("SERVER_KEY", KEY)
    policy = {"name": "openai", "base_url": served.url, "model": str(served.folder), "api_key_env": "SERVER_KEY"}
    tree = {
        "name": "served",
        "data": {"name": "physionet2012", "root": str(physionet_root), "task": "in_hospital_mortality"},
        "split": {"train": 0.6, "tuning": 0.2, "held_out": 0.2},
        "policy": {**policy, "concurrency": 1, "patience_s": 3},
        "record_text": {"values": "quantile", "periods": 1, "instructions": "short"},
        "methods": ["logistic_regression", {"name": "prompt", "style": "vanilla", "max_new_tokens": 24}],
        "conditions": ["clean", {"name": "missing_values", "severity": [0.3]}],
        "metrics": ["brier", "unparsed_rate"],
    }
    benchmark, out = tmp_path / "served.yaml", tmp_path / "run"
    benchmark.write_text(yaml.safe_dump(tree))
    command = [sys.executable, "-m", "eagbench", "run", str(benchmark), "--out", str(out), "--limit", "120"]
    said = tmp_path / "said.log"
    with said.open("wb") as stream:
        run = subprocess.Popen(command, stdout=stream, stderr=stream)

    def kept() -> int:
        return len(list(store_folder.glob("responses/*/*.json")))

    deadline = time.monotonic() + 900
    while kept() < 4:
        assert run.poll() is None, said.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    served.kill()
    killed = time.monotonic()
    assert run.wait(timeout=900) == 1
    assert time.monotonic() - killed >= 3  # it waited
    kept_before, answered_before = kept(), served.answered()
    assert 4 <= kept_before <= answered_before <= kept_before + 1

    results = pd.read_csv(out / "results.csv")
    assert set(results[results.method == "logistic_regression"].status) == {"ok"}
    failed = results[results.method == "prompt"]
    assert set(failed.status) == {"failed"}
    assert set(failed.condition) == {"clean", "missing_values"}
    assert "could not be reached for" in said.read_text()
    assert "Traceback" not in said.read_text()
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    reasons = [entry["reason"] for entry in log if entry["status"] == "failed"]
    assert len(reasons) == 2
    assert all(served.url in reason and "not asked again" in reason for reason in reasons)

    served.start()
    done = run_command(*command[3:])
    assert done.code == 0, done.out + done.err
    results = pd.read_csv(out / "results.csv")
    assert set(results[results.method == "prompt"].status) == {"ok"}
    written = [json.loads(line) for path in (out / "trajectories").iterdir() for line in path.open()]
    assert len(written) == 2 * 24
    # Every question was answered once: those of before the kill stand in the cache, the others were asked now.
    assert served.answered() - answered_before == kept() - kept_before
    assert kept() <= len(written)
    with (out / "costs.csv").open(newline="") as stream:
        costs = [row for row in csv.DictReader(stream) if row["label"].startswith("prompt,")]
    costs = [row for row in costs if row["kind"] == "predict"]
    assert sum(int(row["requests"]) for row in costs) == kept() - kept_before
    assert sum(int(row["generated_tokens"]) for row in costs) >= len(written)
    assert all(int(row["prompt_tokens"]) > 24 for row in costs)
    assert all(int(row["completion_tokens"]) >= int(row["generated_tokens"]) > 0 for row in costs)

    for path in (p for folder in (store_folder, out, tmp_path) for p in folder.rglob("*") if p.is_file()):
        assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in done.out + done.err


def _policy(served: Served, **params: Any) -> OpenAIPolicy:
    return OpenAIPolicy(OpenAIPolicy.Params(base_url=served.url, model=str(served.folder), **params))
