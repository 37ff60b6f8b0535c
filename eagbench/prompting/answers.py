"""Parsing and writing answers. Parsing is strict and never raises: an answer that can't be parsed has no probability.

A probability is a plain decimal from 0 to 1 between the style's answer tags: `0.35`, `.35`, `1`. Percentages (`35`,
`35%`), words, exponents, several answers, and an answer without its closing tag (it may have been cut short) are
unparsed. Tags must be spelt exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from eagbench.contracts.answers import Trajectory
from eagbench.contracts.language_models import Thought
from eagbench.contracts.records import Case, Feature
from eagbench.prompting.styles import Style
from eagbench.prompting.thoughts import PLAIN

_PROBABILITY = re.compile(r"\s*((?:0?\.[0-9]+|0|0\.|1(?:\.0*)?))\s*")
_ITEM_SEPARATOR = re.compile(r"[,;\n]")
_ITEM_MARKS = " \t\r\f\v\"'`[]{}*-"


class FeatureVocabulary:
    """The names by which an answer may cite a feature: its name, else its label, else a declared synonym.

    A label or synonym that belongs to two features matches neither.
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        features = tuple(features)
        self._names = {_folded(feature.name): feature.name for feature in features}
        self._others: dict[str, str | None] = {}
        for feature in features:
            for other in {_folded(text) for text in (feature.label, *feature.synonyms)}:
                self._others[other] = None if other in self._others else feature.name

    def match(self, text: str) -> str | None:
        """Return the feature that a text names, or None if it names none."""
        folded = _folded(text)
        return self._names.get(folded) or self._others.get(folded)


def read_answer(
    style: Style,
    case: Case,
    text: str,
    tokens: int,
    vocabulary: FeatureVocabulary,
    thought: Thought | None = None,
) -> Trajectory:
    """Parse a policy's answer.

    In `think_answer`, a model whose only block is `<think>` wrote the style's own, which stays in the text.

    Args:
        style: The answer format.
        case: The case.
        text: The text, exactly as it was generated, without the thought.
        tokens: Number of generated tokens.
        vocabulary: Names of the features.
        thought: The thought that the model wrote before the text.
    """
    if thought is None and style.format != "think_answer":
        thought, text = PLAIN.split(text)  # from a model that does not tell its thought apart
    start = _reasoning_end(style, text)
    if thought is not None and not thought.closed:
        start = None
    truncated = start is None
    if thought is not None and _is_the_styles(style, thought, text):
        start = None if start is None else len(thought.text)
        text, thought = thought.text + text, None
    sections = _sections(style, text, start)
    cited, hallucinated = _cited(sections, vocabulary) if style.cites_features else (None, 0)
    return Trajectory(
        case_id=case.case_id,
        text=text,
        steps=_steps(sections),
        cited_features=cited,
        hallucinated_features=hallucinated,
        probability=_probability(style, sections),
        generated_tokens=tokens,
        thought="" if thought is None else thought.text,
        truncated_thought=truncated,
    )


def write_answer(
    style: Style,
    steps: Sequence[tuple[str, str]],
    cited: Sequence[str],
    probability: float,
    question: str,
) -> str:
    """Write a well-formed answer that `read_answer` can parse.

    Args:
        style: The format.
        steps: (subquestion, answer) pairs; `think_answer` writes the answers as its reasoning, `vanilla` none.
        cited: Names of the important features; only `question_decomposition` writes them.
        probability: In [0, 1].
        question: The final question; only `question_decomposition` writes it.
    """
    answer = f"{style.answer_open}{probability_text(probability)}{style.answer_close}"
    if style.format == "vanilla":
        return answer
    if style.format == "think_answer":
        return f"<think> {' '.join(text for _, text in steps)}</think>{answer}"
    pairs = "".join(f"<Subquestion> {subquestion}<Answer> {text}" for subquestion, text in steps)
    return f"{pairs}<Final subquestion> {question}<Important Features> {', '.join(cited)}{answer}"


def probability_text(probability: float) -> str:
    """Format a probability with two decimals, or with as many as it takes to read it back unchanged."""
    text = f"{probability:.2f}"
    return text if float(text) == probability else np.format_float_positional(probability)


def text_up_to_answer(style: Style, text: str, thought: Thought | None = None) -> str | None:
    """Return the thought and the text up to the end of the answer's opening tag, or None if no answer was begun.

    A tag inside an unclosed thought, or inside the style's unclosed reasoning, does not begin an answer.
    """
    if thought is None and style.format != "think_answer":
        thought, text = PLAIN.split(text)
    if thought is not None and not thought.closed:
        return None
    start = _reasoning_end(style, text)
    position = -1 if start is None else text.find(style.answer_open, start)
    before = "" if thought is None else thought.text
    return None if position < 0 else before + text[: position + len(style.answer_open)]


def answer_text(style: Style, text: str, thought: Thought | None = None) -> str | None:
    """Return the text after the answer's opening tag, up to the closing one, or None if no answer was begun."""
    begun = text_up_to_answer(style, text, thought)
    if begun is None:
        return None
    verbatim = text if thought is None else thought.text + text
    return verbatim[len(begun) :].partition(style.answer_close)[0]


def _is_the_styles(style: Style, thought: Thought, text: str) -> bool:
    """Check whether a thought is the block that `think_answer` asks for."""
    return (
        style.format == "think_answer"
        and thought.text.lstrip().startswith("<think>")
        and not text.lstrip().startswith("<think>")
    )


def _reasoning_end(style: Style, text: str) -> int | None:
    """Find where the text after the style's `<think>` ... `</think>` begins; return None if it was not closed."""
    if style.format != "think_answer":
        return 0
    end = 0
    while True:  # a model may think in the same tags first, and then write the style's block
        close = text.find("</think>", end)
        if close < 0:
            return None if "<think>" in text[end:] else end
        end = close + len("</think>")
        if not text[end:].lstrip().startswith("<think>"):
            return end


def _sections(style: Style, text: str, start: int | None) -> list[tuple[str, str, bool]]:
    """Split a text into (opening tag, text up to the next tag, whether that is the matching closing tag) in order.

    Args:
        style: The format.
        text: The text.
        start: Where the reasoning ends; None if it doesn't.
    """
    if start is None:
        return []
    names = {tag.strip("</>") for tag in style.tags}
    tag = re.compile("|".join(f"</?{re.escape(name)}>" for name in sorted(names)))
    found = list(tag.finditer(text, start))
    sections = []
    for i, match in enumerate(found):
        opening = match.group()
        if opening.startswith("</"):
            continue
        follows = found[i + 1] if i + 1 < len(found) else None
        content = text[match.end() : follows.start() if follows else len(text)]
        closed = follows is not None and follows.group() == f"</{opening[1:]}"
        sections.append((opening, content.strip(), closed))
    return sections


def _probability(style: Style, sections: Sequence[tuple[str, str, bool]]) -> float | None:
    answers = [(content, closed) for tag, content, closed in sections if tag == style.answer_open]
    if len(answers) != 1 or not answers[0][1]:
        return None
    number = _PROBABILITY.fullmatch(answers[0][0])
    return float(number.group(1)) if number else None


def _steps(sections: Sequence[tuple[str, str, bool]]) -> tuple[tuple[str, str], ...]:
    """Collect the subquestions that are directly followed by an answer, with that answer."""
    return tuple(
        (subquestion, answer)
        for (first, subquestion, _), (second, answer, _) in pairwise(sections)
        if first == "<Subquestion>" and second == "<Answer>"
    )


def _cited(sections: Sequence[tuple[str, str, bool]], vocabulary: FeatureVocabulary) -> tuple[tuple[str, ...], int]:
    cited: dict[str, None] = {}
    hallucinated: set[str] = set()
    for tag, content, _ in sections:
        if tag != "<Important Features>":
            continue
        for item in _ITEM_SEPARATOR.split(content):
            listed = item.strip(_ITEM_MARKS)
            if not listed:
                continue
            name = vocabulary.match(listed)
            if name is None:
                hallucinated.add(_folded(listed))
            else:
                cited[name] = None
    return tuple(cited), len(hallucinated)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
