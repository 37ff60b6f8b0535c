"""The words of an error that may come from a record go to a file of their own; what the code says stays."""

from __future__ import annotations

import json
import threading
import traceback
import warnings
from pathlib import Path

import pytest

from eagbench.contracts.rules import ContractError
from eagbench.contracts.stages import StageNode
from eagbench.errors import UserError
from eagbench.execution.computing import Outcome
from eagbench.execution.private_words import HiddenError, PrivateWords
from eagbench.execution.runner import SharedStageError

NODE = StageNode("expert", "lightgbm", "m:f", {}, {}, seed=3)
BENCHMARK = {"data": {"name": "long_csv", "root": "data/Own17", "groups": {"ward": ["Northgate"]}}}


@pytest.fixture
def words(tmp_path: Path) -> PrivateWords:
    return PrivateWords(tmp_path / "run", BENCHMARK)


def kept(words: PrivateWords) -> str:
    return "\n".join(json.loads(line)["text"] for line in words.place.read_text().splitlines())


def failed(error: Exception) -> Outcome:
    try:
        raise error
    except Exception as raised:  # noqa: BLE001 - as the runner does
        user = raised if isinstance(raised, UserError) else None
        reason = traceback.format_exception_only(raised)[-1].strip()
        return Outcome("failed", reason=reason, details=traceback.format_exc(), error=user)


@pytest.mark.parametrize(
    "error",
    [ValueError("Miller has 97.31"), KeyError("Zst0004q"), ValueError("a\nb\n\nMiller: 97.31\nMiller"), ValueError()],
)
def test_the_words_of_any_error_are_kept_apart_and_its_place_is_said(words: PrivateWords, error: Exception) -> None:
    outcome = words.outcome(NODE, failed(error))
    shown = f"{outcome.reason}\n{outcome.details}"
    assert not any(word in shown for word in ("Miller", "97.31", "Zst0004q"))
    assert type(error).__name__ in str(outcome.reason)
    assert "test_private_words.py:" in str(outcome.reason)
    assert "test_private_words.py:" in str(outcome.details)
    assert all(str(word) in kept(words) for word in error.args)
    assert words.place.stat().st_mode & 0o777 == 0o600
    assert words.place.parent.stat().st_mode & 0o777 == 0o700


def test_a_message_says_what_stands_in_the_code_or_the_benchmark(words: PrivateWords) -> None:
    error = UserError(
        "the stay 's17' of Miller has the heart_rate 97.31 and the outcome 2, and lies on Northgate",
        where="data/Own17/events.csv:1204",
        hint="remove the stay Zst-0004, or the patient ab12",
    )
    outcome = words.outcome(NODE, failed(error))
    assert outcome.error is not None
    assert outcome.error.what == (
        "the stay '[...]' of [...] has the heart_rate [...] and the outcome [...], and lies on Northgate"
    )
    assert outcome.error.where == "data/Own17/events.csv:1204"
    assert str(outcome.error.hint).startswith("remove the stay [...], or the patient [...]; what stands at [...]")
    assert "Miller has the heart_rate 97.31" in kept(words)


def test_a_message_without_anything_of_a_record_stays_as_it_is(words: PrivateWords) -> None:
    error = UserError("the file can't be read: permission denied", where="data/Own17/events.csv")
    assert words.outcome(NODE, failed(error)).error is error


def test_a_broken_contract_names_component_and_call(words: PrivateWords) -> None:
    outcome = words.outcome(NODE, failed(ContractError("run", "token_budget=512", "case Zst0004q spent 530 tokens")))
    assert "ContractError: run, token_budget=[...]: case [...] spent [...] tokens" in str(outcome.reason)


def test_what_a_block_raises_has_no_words_of_a_record_on_the_whole_traceback(words: PrivateWords) -> None:
    def chained() -> None:
        try:
            raise LookupError("Zst0004q")
        except LookupError as error:
            raise ValueError("Miller has 97.31") from error

    with pytest.raises(HiddenError) as raised, words.guarded():
        chained()
    shown = "".join(traceback.format_exception(raised.value))
    assert "ValueError at test_private_words.py" in shown
    assert not any(word in shown for word in ("Miller has", "97.31\n", "LookupError:"))
    assert "Zst0004q" in kept(words)
    assert "Miller" in kept(words)


def test_a_user_error_of_a_block_is_said_once_however_many_blocks_there_are(words: PrivateWords) -> None:
    with pytest.raises(UserError) as raised, words.guarded(), words.guarded():
        raise UserError("the stay Zst0004q is there twice")
    assert raised.value.message.count("what stands at") == 1
    with pytest.raises(SharedStageError, match="as it was"), words.guarded():
        raise SharedStageError("as it was")


def test_the_end_of_a_thread_and_a_warning_are_told_without_words(
    words: PrivateWords, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends() -> None:
        raise ValueError("Zst0004q ended")

    with words.guarded():
        warnings.warn("Zst0005q is odd", stacklevel=1)
        thread = threading.Thread(target=ends)
        thread.start()
        thread.join()
    said = capsys.readouterr().err
    assert "UserWarning at test_private_words.py:" in said
    assert "ValueError at test_private_words.py:" in said
    assert "Zst000" not in said
    assert all(word in kept(words) for word in ("Zst0004q", "Zst0005q"))


def test_the_failure_of_a_metric_says_its_type(words: PrivateWords) -> None:
    failure = {"metric": "odd", "seed": 0, "reason": "ValueError: answer 0.123456789"}
    assert words.failed(failure)["reason"].startswith("ValueError; its words may repeat records")
    assert words.failed({**failure, "metric": None})["reason"] == failure["reason"]
