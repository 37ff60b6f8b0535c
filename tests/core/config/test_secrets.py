"""Secrets are found by name and form and masked, and what only looks a little like one stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eagbench.config import secrets
from eagbench.config.loading import load_benchmark
from eagbench.config.secrets import MASK, apart, masked, masked_text, names_a_secret, note_secrets, note_variable
from eagbench.errors import UserError

HF, GITHUB, AWS, OPENAI = (
    "hf_AbCdEfGhIjKlMnOpQr12",
    "ghp_0123456789abcdefghij0123",
    "AKIAIOSFODNN7EXAMPLE",
    "sk-" + "a1" * 12,
)

BENCHMARK = """
name: small
data: {name: synthetic, %s}
methods: [prevalence]
metrics: [auroc]
"""


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test notes is forgotten after it."""
    monkeypatch.setattr(secrets, "_known", {})


@pytest.mark.parametrize(
    "name", ["api_key", "apiKey", "OPENAI_API_KEY", "HF_TOKEN", "auth_token", "db_password", "SECRET"]
)
def test_names_of_secrets(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize(
    "name",
    ["max_new_tokens", "token_budget", "pad_token", "stop_token", "sort_key", "key", "api_key_env", "tokens", "mask"],
)
def test_names_of_other_things(name: str) -> None:
    assert not names_a_secret(name)


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"api_key": "x"}, {"api_key": MASK}),
        ({"extra": {"headers": [{"Authorization": "anything"}]}}, {"extra": {"headers": [{"Authorization": MASK}]}}),
        ({"password": 123456}, {"password": MASK}),
        ({"note": f"take {HF}, {GITHUB}, {AWS} or {OPENAI}"}, {"note": f"take {MASK}, {MASK}, {MASK} or {MASK}"}),
        ({"uri": "postgresql://ann:pw1@host/db"}, {"uri": f"postgresql://ann:{MASK}@host/db"}),
        ({"uri": "https://host/v1?model=x&token=abc"}, {"uri": f"https://host/v1?model=x&token={MASK}"}),
        ({"signing": {"key": "a8f5f167f44f4964e6c998dee827110c"}}, {"signing": {"key": MASK}}),
    ],
)
def test_a_tree_is_masked_wherever_a_secret_stands(tree: Any, expected: Any) -> None:
    assert masked(tree) == expected
    assert masked(masked(tree)) == expected


def test_what_is_no_secret_stays_the_same_object() -> None:
    tree = {
        "max_new_tokens": 512, "token_budget": 1024, "pad_token": "<pad>", "sort_key": "time", "key": "heart_rate",
        "api_key_env": "OPENAI_API_KEY", "model": "Qwen/Qwen3-4B", "base_url": "http://127.0.0.1:8000/v1",
        "sha256": "a8f5f167f44f4964e6c998dee827110c", "secret": None, "use_password": True,
        "api_key": "${OPENAI_API_KEY}", "undefined": float("nan"),
        "items": ["auroc", {"name": "few_shot", "seeds": (1, 2)}],
    }  # fmt: skip
    assert masked(tree) is tree
    assert apart(tree)[1] == {}


def test_a_secret_once_seen_is_masked_in_every_text_as_it_is_quoted_there() -> None:
    note_secrets({"extra": {"api_key": "tr\"icky's\\pass"}})
    for text in ("tr\"icky's\\pass", repr("tr\"icky's\\pass"), '{"k": "tr\\"icky\'s\\\\pass"}'):
        assert "icky" not in masked_text(f"HTTP 401: {text} is wrong")


def test_variables_are_masked_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "correcthorse")
    monkeypatch.setenv("ODD_NAME", "batterystaple")
    monkeypatch.setenv("DATA_ROOT", "wherever")
    assert masked_text("401 for correcthorse at wherever") == "401 for ${SOME_API_KEY} at wherever"
    note_secrets({"api_key_env": "ODD_NAME"})
    assert masked_text("batterystaple") == "${ODD_NAME}"
    note_variable("DATA_ROOT", "wherever")
    assert masked_text("wherever") == "wherever"


def write(folder: Path, line: str) -> Path:
    path = folder / "b.yaml"
    path.write_text(BENCHMARK % line)
    return path


def test_a_resolved_benchmark_names_the_variable_and_not_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "correcthorse")
    loaded = load_benchmark(write(tmp_path, "login: 'me-${MY_TOKEN}'"), sets=["data.api_key=battery"])
    assert loaded.source.tree["data"] == {"name": "synthetic", "login": "me-correcthorse", "api_key": "battery"}
    assert loaded.resolved()["data"] == {"name": "synthetic", "login": "me-${MY_TOKEN}", "api_key": MASK}
    assert "battery" not in loaded.place("data", "api_key")


@pytest.mark.parametrize("given", ["data.api_key=pw1", f"data.what={HF}", "data.uri=sqlite://me:pw1@host/x"])
def test_errors_about_a_set_do_not_repeat_a_secret(tmp_path: Path, given: str) -> None:
    with pytest.raises(UserError) as raised:
        load_benchmark(write(tmp_path, "seed: 1"), sets=[given, f"methods.none.{given}"])
    assert "pw1" not in raised.value.message
    assert HF not in raised.value.message


def test_errors_about_a_value_do_not_repeat_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text((BENCHMARK % "seed: 1") + "answer: {samples: {api_key: pw1}}\n")
    with pytest.raises(UserError) as raised:
        load_benchmark(path)
    assert MASK in raised.value.message
    assert "pw1" not in raised.value.message
