"""Every built-in policy keeps the contract."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from eagbench.api import RecordText, RecordTextParams, ResponseCache, Sampling, StageRun
from eagbench.prompting.answer_cache import answering_from
from eagbench.testing import PolicyConformance, labelled_cases
from eagbench_plugins.policies.hf import HuggingFacePolicy
from eagbench_plugins.policies.openai_compatible import OpenAIPolicy
from eagbench_plugins.policies.smollm2.policy import SmolLM2Policy
from eagbench_plugins.policies.tiny.policy import TinyPolicy
from tests.built_in import built_in
from tests.local_server import LocalServer, Reply, Request, text

# Barely pre-trained: what it writes is nonsense, and keeps the contract all the same.
TINY = {"steps": 6, "hidden_dim": 32, "intermediate_dim": 32, "layers": 1, "heads": 2}


def test_every_policy_is_tested() -> None:
    tested = {kind.component.name for kind in (TestTiny, TestHuggingFace, TestSmolLM2, TestOpenAI)}
    assert {component.name for component in built_in("policy")} == tested


def tiny_model(folder: Path) -> Path:
    """The folder of a tiny policy."""
    cases = labelled_cases(40, seed=1).cases
    record_text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(cases)
    TinyPolicy(TinyPolicy.Params(**TINY)).prepare(cases, record_text, StageRun({}, {}, 0, folder))
    return folder


class TestTiny(PolicyConformance):
    component = TinyPolicy
    params: ClassVar[Mapping[str, Any]] = TINY


class TestHuggingFace(PolicyConformance):
    component = HuggingFacePolicy

    @pytest.fixture(scope="class")
    @classmethod
    def given_params(cls, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
        return {"path": str(tiny_model(tmp_path_factory.mktemp("model"))), "dtype": "float32"}


class TestSmolLM2(PolicyConformance):
    """With a tiny model in the place where the fetched one lies."""

    component = SmolLM2Policy
    params: ClassVar[Mapping[str, Any]] = {"dtype": "float32"}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def fetched(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        root = tmp_path_factory.mktemp("policies")
        (root / "smollm2").mkdir()
        tiny_model(root / "smollm2")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("EAGBENCH_POLICIES", str(root))
            yield


class ServedModel:
    """The endpoint `completions` of a tiny policy, as vLLM has it: it continues a prompt, and gives logprobs."""

    def __init__(self, folder: Path) -> None:
        self.model = TinyPolicy(TinyPolicy.Params(**TINY)).open(folder)
        self.lock = threading.Lock()

    def __call__(self, request: Request, _count: int) -> Reply:
        asked = request.body
        with self.lock:
            if asked.get("logprobs"):
                return Reply(text("", logprobs={"top_logprobs": [self.likeliest(asked["prompt"], asked["logprobs"])]}))
            sampling = Sampling(asked["max_tokens"], temperature=asked["temperature"], top_p=asked["top_p"])
            [written] = self.model.generate([asked["prompt"]], sampling, asked.get("seed", 0))
        usage = {"completion_tokens": written.tokens, "prompt_tokens": 1}
        return Reply({"choices": [{"text": written.text}], "usage": usage})

    def likeliest(self, prompt: str, count: int) -> dict[str, float]:
        """The next token's logarithms of probability by its text."""
        tokens = self.model.tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            weights = self.model.model(tokens).logits[0, -1].log_softmax(dim=-1)
        top = weights.topk(count)
        names = [self.model.tokenizer.decode([token]) for token in top.indices.tolist()]
        return dict(zip(names, top.values.tolist(), strict=True))


class TestOpenAI(PolicyConformance):
    component = OpenAIPolicy

    @pytest.fixture(scope="class")
    @classmethod
    def given_params(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Any]]:
        server = LocalServer(ServedModel(tiny_model(tmp_path_factory.mktemp("served"))))
        yield {"base_url": server.url, "model": "tiny", "endpoint": "completions", "logprobs": 100}
        server.close()

    @pytest.fixture(autouse=True)
    def no_answer_from_before(self, tmp_path: Path) -> Iterator[None]:
        """Every test asks the server, and not what another one was answered."""
        with answering_from(ResponseCache(tmp_path / "responses")):
            yield
