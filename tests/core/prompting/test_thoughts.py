"""Where a thought begins and ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.api import (
    FROM_SERVER,
    NO_THOUGHT,
    STYLES,
    TEMPLATE_OPENS,
    Case,
    FeatureVocabulary,
    Thought,
    UserError,
    read_answer,
)
from eagbench.prompting.thoughts import PLAIN, format_after_template
from tests.builders import make_case

ANSWER = "<answer>0.20</answer>"
DRAFT = "The format asks for <answer>0.90</answer> or so."
ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"


@pytest.mark.parametrize(
    ("begins", "thought"),
    [
        (PLAIN, f"<think>\n{DRAFT}\n</think>"),
        (PLAIN, f"\n <think>{DRAFT}</think>"),
        (PLAIN, f"[THINK]{DRAFT} </think>[/THINK]"),
        (PLAIN, f"<seed:think>{DRAFT}</seed:think>"),
        (PLAIN, f"## Thinking\n\n{DRAFT}\n\n## Final Response"),
        (PLAIN, f"{ANALYSIS}{DRAFT}{FINAL}"),
        (PLAIN, f"{ANALYSIS}{DRAFT}<|end|><|start|>assistant<|channel|>commentary<|message|>Well.{FINAL}"),
        (PLAIN, f"{ANALYSIS}{DRAFT}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>"),
        (FROM_SERVER, f"{DRAFT}</think>"),
        (FROM_SERVER, f"<think>{DRAFT}</think>"),
        (FROM_SERVER, f"analysisWe weigh it. {DRAFT}assistantfinal"),
        (TEMPLATE_OPENS, f"{DRAFT} A <think> is only mentioned.</think>"),
        (TEMPLATE_OPENS, f"<think>{DRAFT}</think>"),
    ],
)
def test_a_thought_ends_at_the_first_closing_tag(begins, thought: str) -> None:
    assert begins.split(thought + ANSWER) == (Thought(thought), ANSWER)
    mentioned = f"{ANSWER} without </think>, <think>{FINAL}"
    assert begins.split(thought + mentioned) == (Thought(thought), mentioned)
    cut_off = thought[: thought.index("</answer>") + len("</answer>")]
    if begins is not FROM_SERVER or "<think>" in thought or "analysis" in thought:
        assert begins.split(cut_off) == (Thought(cut_off, closed=False), "")


@pytest.mark.parametrize(
    ("begins", "text"),
    [
        (PLAIN, f"No <think> is needed. {ANSWER}"),
        (PLAIN, f"{ANSWER} and </think>"),
        (FROM_SERVER, f"No <think> is needed. {ANSWER}"),
        (FROM_SERVER, f"analysis of the record: {ANSWER}"),
        (FROM_SERVER, ANSWER),
        (NO_THOUGHT, f"<think> is a tag that I don't write, as </think>. {ANSWER}"),
        (PLAIN, ""),
    ],
)
def test_a_tag_that_is_only_mentioned_opens_nothing(begins, text: str) -> None:
    assert begins.split(text) == (None, text)


@pytest.mark.parametrize(
    ("tail", "ends_at"),
    [
        ("<|im_end|>\n<|im_start|>assistant\n", None),
        ("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", None),
        ("<|Assistant|><think>\n", "</think>"),
        ("[/INST][THINK]", "[/THINK]"),
        ("<|end|><|start|>assistant", None),
        ("<|end|><|start|>assistant<|channel|>analysis<|message|>", "<|channel|>"),
        ("<|end|><|start|>assistant<|channel|>final<|message|>", None),
        ("", None),
    ],
)
def test_the_end_of_the_input_says_whether_a_thought_is_open(tail: str, ends_at: str | None) -> None:
    assert format_after_template(tail).ends_at == ends_at


def test_a_begun_answer_opens_no_thought_and_stands_in_none() -> None:
    for begins in (PLAIN, FROM_SERVER):
        assert begins.after("<Subquestion>").split(f"one </think> <think>{ANSWER}") == (
            None,
            f"one </think> <think>{ANSWER}",
        )
    assert TEMPLATE_OPENS.after("so</think><answer>").split("0.2</answer>") == (None, "0.2</answer>")
    assert PLAIN.after("<think> so far").split(f"and on</think>{ANSWER}") == (Thought("and on</think>"), ANSWER)
    for begun in ("", "<Subquestion>"):
        with pytest.raises(UserError, match=r"opens a thought.*`</think>`.*inside the thought"):
            TEMPLATE_OPENS.after(begun)


def test_a_text_to_learn_closes_the_thought_that_the_template_opens() -> None:
    assert PLAIN.closed(ANSWER) == ANSWER
    assert TEMPLATE_OPENS.closed(ANSWER) == f"\n</think>\n\n{ANSWER}"
    assert TEMPLATE_OPENS.closed(f"so</think>{ANSWER}") == f"so</think>{ANSWER}"


@given(
    st.sampled_from([PLAIN, FROM_SERVER, TEMPLATE_OPENS, NO_THOUGHT]),
    st.lists(st.sampled_from(["<think>", "</think>", ANALYSIS, FINAL, ANSWER, "analysis", "a", " "])).map("".join),
)
def test_nothing_is_lost_and_a_text_is_split_once(begins, text: str) -> None:
    thought, rest = begins.split(text)
    assert (thought.text if thought else "") + rest == text
    if thought is not None and not thought.closed:
        assert rest == ""


# Reading

CASE: Case = make_case({"alpha": [1.0]}, case_id="c")
OWN = f"<think>\n{DRAFT}\n</think>\n\n"
STYLES_BLOCK = f"<think> perhaps <answer>0.70</answer></think>{ANSWER}"


def read(style: str, text: str, thought: Thought | None = None):
    return read_answer(STYLES[style], CASE, text, 7, FeatureVocabulary([]), thought)


def test_the_styles_own_block_is_read_after_the_models() -> None:
    for found in (read("think_answer", STYLES_BLOCK, Thought(OWN)), read("think_answer", OWN + STYLES_BLOCK)):
        assert found.probability == 0.2
        assert found.verbatim == OWN + STYLES_BLOCK
    assert read("think_answer", STYLES_BLOCK, Thought(OWN)).thought == OWN
    assert read("think_answer", ANSWER, Thought("the server's field </think>")).probability == 0.2


def test_a_single_block_in_think_answer_is_the_styles_and_stays_in_the_text() -> None:
    found = read("think_answer", ANSWER, Thought(OWN))
    assert (found.text, found.thought, found.probability) == (OWN + ANSWER, "", 0.2)


def test_a_thought_is_kept_apart_from_what_is_read() -> None:
    for found in (read("vanilla", ANSWER, Thought(OWN)), read("vanilla", OWN + ANSWER)):
        assert (found.text.strip(), found.thought.strip(), found.probability) == (ANSWER, OWN.strip(), 0.2)
        assert not found.truncated_thought
        assert found.as_json()["thought"] == found.thought


@pytest.mark.parametrize("style", ["vanilla", "think_answer"])
def test_a_thought_that_never_ends_is_no_answer_and_counted(style: str) -> None:
    cut_off = f"<think>{DRAFT}"
    for found in (read(style, "", Thought(cut_off, closed=False)), read(style, cut_off)):
        assert (found.probability, found.truncated_thought, found.verbatim) == (None, True, cut_off)
        assert found.as_json()["truncated_thought"] is True


def test_a_trajectory_without_a_thought_has_the_fields_it_had() -> None:
    assert set(read("vanilla", ANSWER).as_json()) == {
        "case_id",
        "text",
        "steps",
        "cited_features",
        "hallucinated_features",
        "probability",
        "generated_tokens",
        "attention",
    }
