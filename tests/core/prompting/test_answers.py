"""Strict reading: what is an answer, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.api import STYLES, Case, Feature, FeatureVocabulary, Style, Trajectory, read_answer, write_answer
from eagbench.prompting.answers import answer_text, text_up_to_answer

FEATURES = (
    Feature("heart_rate", "Heart rate", "bpm", (0, 300), synonyms=("pulse", "HR")),
    Feature("lactate", "Lactate", "mmol/L", (0, 50), synonyms=("lactic acid", "shared")),
    Feature("ph", "pH", "1", (6, 8), synonyms=("shared",)),
)
NAMES = [feature.name for feature in FEATURES]
VOCABULARY = FeatureVocabulary(FEATURES)
CASE = Case("c", "p", (), np.empty(0), np.empty((0, 0), np.float32), {})
PQD = STYLES["question_decomposition"]
STYLE = st.sampled_from(list(STYLES.values()))


def read(style: Style, text: str) -> Trajectory:
    return read_answer(style, CASE, text, 7, VOCABULARY)


@pytest.mark.parametrize(
    ("number", "probability"),
    [("0.35", 0.35), ("0", 0.0), ("1", 1.0), ("1.0", 1.0), (".5", 0.5), (" 0.20\n", 0.2), ("0.125", 0.125)],
)
@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_a_decimal_between_0_and_1_is_a_probability(style: Style, number: str, probability: float) -> None:
    assert read(style, f"{style.answer_open}{number}{style.answer_close}").probability == probability


@pytest.mark.parametrize(
    "number",
    ["85", "1.7", "nan", "NaN", "inf", "50%", "0.5%", "-0.1", "1e-2", "0,5", "about 0.5", "0.5 or 0.6", "", "1.01",
     "\u0660.\u0665", "0.3.5", "high", "00.5", "+0.5"],
)  # fmt: skip
@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_anything_else_is_unparsed(style: Style, number: str) -> None:
    assert read(style, f"{style.answer_open}{number}{style.answer_close}").probability is None


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_cut_short_or_answered_twice_is_unparsed(style: Style) -> None:
    answer = f"{style.answer_open}0.3{style.answer_close}"
    assert read(style, f"{style.answer_open}0.3").probability is None
    assert read(style, "0.3").probability is None
    assert read(style, answer + answer).probability is None
    assert read(style, answer + " That is my answer.").probability == 0.3


def test_an_answer_within_the_reasoning_is_none() -> None:
    think = STYLES["think_answer"]
    assert read(think, "<think> maybe <answer>0.9</answer>").probability is None
    assert read(think, "<think> maybe <answer>0.9</answer> no</think><answer>0.2</answer>").probability == 0.2
    assert read(think, "it began in the template</think><answer>0.2</answer>").probability == 0.2


def test_features_are_matched_by_name_then_label_then_synonym_and_the_rest_is_counted() -> None:
    text = "<Important Features> Heart_Rate, PULSE, pH,\n- lactic acid; unicorn count, Unicorn  Count, shared, "
    read_back = read(PQD, text + "<Final answer>0.5</Final answer>")
    assert read_back.cited_features == ("heart_rate", "ph", "lactate")
    assert read_back.hallucinated_features == 2  # the unicorns, and the synonym that two features claim
    assert read_back.probability == 0.5


def test_steps_are_subquestions_with_the_answer_that_follows() -> None:
    text = (
        "<Subquestion>one</Subquestion><Answer> first</Answer>\n<Subquestion>lost<Subquestion> two <Answer>second"
        "<Final subquestion>q<Important Features>ph<Final answer>0.1</Final answer>"
    )
    assert read(PQD, text).steps == (("one", "first"), ("two", "second"))


def test_styles_without_a_list_cite_nothing_and_pqd_without_one_cites_no_feature() -> None:
    assert read(STYLES["vanilla"], "<answer>0.1</answer>").cited_features is None
    assert read(PQD, "<Final answer>0.1</Final answer>").cited_features == ()


WORDS = st.text(st.characters(exclude_characters="<>", exclude_categories=["Cs"]), min_size=1, max_size=30).map(
    str.strip
)


@given(
    STYLE,
    st.lists(st.tuples(WORDS, WORDS), max_size=5),
    st.lists(st.sampled_from(NAMES), unique=True),
    st.floats(0, 1),
    WORDS,
)
def test_a_well_formed_answer_survives_writing_and_reading(
    style: Style, steps: list[tuple[str, str]], cited: list[str], probability: float, question: str
) -> None:
    text = write_answer(style, steps, cited, probability, question)
    assert read(style, text) == Trajectory(
        case_id="c",
        text=text,
        steps=tuple(steps) if style is PQD else (),
        cited_features=tuple(cited) if style is PQD else None,
        hallucinated_features=0,
        probability=probability,
        generated_tokens=7,
    )


@given(STYLE, st.floats(0, 1), WORDS)
def test_the_answers_own_text_follows_what_leads_to_it(style: Style, probability: float, question: str) -> None:
    text = write_answer(style, [("a", "b")], ["ph"], probability, question)
    begun, answer = text_up_to_answer(style, text), answer_text(style, text)
    assert answer is not None
    assert float(answer) == probability
    assert text == f"{begun}{answer}{style.answer_close}"
    assert answer_text(style, begun or "") == ""
    assert answer_text(style, "nothing of the kind") is None


FRAGMENTS = st.sampled_from([tag for style in STYLES.values() for tag in style.tags] + ["0.5", "ph", ",", " ", "</"])


@given(STYLE, st.one_of(st.text(), st.lists(st.one_of(FRAGMENTS, st.text(max_size=4))).map("".join)))
def test_reading_never_raises_and_never_invents(style: Style, text: str) -> None:
    trajectory = read(style, text)
    assert trajectory.verbatim == text
    assert trajectory.probability is None or 0 <= trajectory.probability <= 1
    assert set(trajectory.cited_features or ()) <= set(NAMES)
    assert len(set(trajectory.cited_features or ())) == len(trajectory.cited_features or ())
    if style.answer_close not in text:
        assert trajectory.probability is None
