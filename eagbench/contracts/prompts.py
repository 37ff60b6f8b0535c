"""Prompts as data: what a prompt says beside the record, and the formats in which an answer can be read.

A wording is free text in any language, with placeholders in braces; `{{` and `}}` stand for braces. The format of the
answer is not free: it is one of `FORMATS`, whose tags the strict reader knows, and a wording has to show them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

FormatName = Literal["vanilla", "think_answer", "question_decomposition"]


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """A format that the strict reader reads.

    Attributes:
        name: Its name.
        tags: Every tag of the format, opening tags before closing ones.
        answer_open: The tag before the probability.
        answer_close: The tag after the probability. An answer without it may have been cut short and can't be parsed.
        cites_features: Whether the answer lists the features it found important.
    """

    name: FormatName
    tags: tuple[str, ...]
    answer_open: str
    answer_close: str
    cites_features: bool


FORMATS: Mapping[str, AnswerFormat] = {
    known.name: known
    for known in (
        AnswerFormat("vanilla", ("<answer>", "</answer>"), "<answer>", "</answer>", cites_features=False),
        AnswerFormat(
            "think_answer",
            ("<think>", "<answer>", "</think>", "</answer>"),
            "<answer>",
            "</answer>",
            cites_features=False,
        ),
        AnswerFormat(
            "question_decomposition",
            (
                "<Subquestion>",
                "<Answer>",
                "<Final subquestion>",
                "<Important Features>",
                "<Final answer>",
                "</Final answer>",
            ),
            "<Final answer>",
            "</Final answer>",
            cites_features=True,
        ),
    )
}

# What stands for a brace, then a placeholder, then a brace without its partner.
_BRACES = re.compile(r"(\{\{|\}\})|\{([^{}\n]*)\}|([{}])")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z ]*>")
# What the task says; a wording's `words` may say it otherwise.
_OF_TASK = ("role", "outcome", "window_hours")
_OF_PROMPT = ("record", "question", "instruction", "format")


class Wording(BaseModel):
    """What a prompt says beside the record.

    Every text but `words` may hold `{role}`, `{outcome}`, `{window_hours}` (of the task) and the wording's own `words`;
    the two layouts also `{record}`, `{question}`, `{instruction}` and `{format}`.

    Attributes:
        format: The format of the answer, which `instruction` has to show: `vanilla`, `think_answer` or
            `question_decomposition`.
        words: Placeholders of one's own with what they stand for. `role` and `outcome` say the task's in other words or
            another language.
        instruction: What the prompt says about the answer. Every tag of the format occurs in it, and no other format's.
        question: The question about every case.
        layout: The whole prompt. `{record}` stands in it once.
        short_layout: The whole prompt where the benchmark says `record_text: {instructions: short}`. `{record}` stands
            in it once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: FormatName
    words: dict[str, str] = Field(default_factory=dict)
    instruction: str = Field(min_length=1)
    question: str = "How likely is it that this patient will {outcome}?"
    layout: str = "You are {role}.\n\nThe record of a patient:\n{record}\n\nQuestion: {question}\n\n{instruction}"
    short_layout: str = "{record}\n{question}\nFormat: {format}"

    @field_validator("words")
    @classmethod
    def _are_names(cls, words: dict[str, str]) -> dict[str, str]:
        for name in words:
            if not name.isidentifier() or name in _OF_PROMPT:
                raise ValueError(f"'{name}' can't be a placeholder of one's own: it is a name of letters and '_'")
        return words

    @field_validator("instruction", "question")
    @classmethod
    def _is_about_the_task(cls, text: str, info: ValidationInfo) -> str:
        _check_placeholders(text, (*_OF_TASK, *info.data.get("words", {})))
        return text.rstrip("\n")  # a text block of YAML ends with one, which is no part of what it says

    @field_validator("layout", "short_layout")
    @classmethod
    def _shows_the_record(cls, text: str, info: ValidationInfo) -> str:
        _check_placeholders(text, (*_OF_PROMPT, *_OF_TASK, *info.data.get("words", {})))
        found = _placeholders(text)
        if found.count("record") != 1:
            raise ValueError(f"it shows the record {found.count('record')} times: write {{record}} once")
        left_out = [name for name in ("question", "instruction") if name not in found]
        if info.field_name == "layout" and left_out:
            raise ValueError(f"it leaves out {{{left_out[0]}}}, so the policy would never be told")
        return text.rstrip("\n")

    @field_validator("instruction")
    @classmethod
    def _shows_the_format(cls, text: str, info: ValidationInfo) -> str:
        if "format" in info.data:
            _check_tags(text, FORMATS[info.data["format"]])
        return text

    @model_validator(mode="after")
    def _uses_its_words(self) -> Wording:
        texts = (self.instruction, self.question, self.layout, self.short_layout)
        used = {name for text in texts for name in _placeholders(text)}
        unused = [name for name in self.words if name not in used]
        if unused:
            raise ValueError(f"the word '{unused[0]}' is declared and no text uses it: write {{{unused[0]}}} in one")
        return self

    def asked(self, task: Mapping[str, str]) -> str:
        """Write the question about every case.

        Args:
            task: What `role`, `outcome` and `window_hours` stand for.
        """
        return _filled(self.question, {**task, **self.words})

    def prompt(self, record: str, task: Mapping[str, str], *, short: bool) -> str:
        """Write the prompt around a rendered record. It ends with a line break, and the policy writes after that.

        Args:
            record: The record as text.
            task: What `role`, `outcome` and `window_hours` stand for.
            short: Whether to write the short layout.
        """
        words = {**task, **self.words}
        parts = {"question": self.asked(task), "instruction": _filled(self.instruction, words)}
        layout = self.short_layout if short else self.layout
        return _filled(layout, {**words, **parts, "record": record, "format": self.format}) + "\n"


def _placeholders(text: str) -> list[str]:
    return [found[2] for found in _BRACES.finditer(text) if found[2] is not None]


def _check_placeholders(text: str, names: Sequence[str]) -> None:
    """Refuse a placeholder that nothing stands for, and a brace without its partner."""
    for found in _BRACES.finditer(text):
        line = f"line {text.count(chr(10), 0, found.start()) + 1} of the text"
        if found[3]:
            raise ValueError(f"{line} has a single '{found[3]}': write {{{{ and }}}} for braces")
        if found[2] is not None and found[2] not in names:
            near = difflib.get_close_matches(found[2], names, n=1)
            hint = f"did you mean {{{near[0]}}}? " if near else ""
            raise ValueError(
                f"{line} has the placeholder {{{found[2]}}}, and nothing stands for it; {hint}choices: "
                f"{', '.join(names)}, and what you declare among `words`"
            )


def _check_tags(instruction: str, asked: AnswerFormat) -> None:
    """Refuse an instruction that asks for what the reader of its format does not read."""
    found = _TAG.findall(instruction)
    for tag in asked.tags:
        if tag not in found:
            written = [other for other in found if other.casefold() == tag.casefold()]
            near = f", and {written[0]} is another" if written else ""
            raise ValueError(
                f"an answer in the format '{asked.name}' is read by its tags, and the text does not show {tag}{near}; "
                f"show all of {' '.join(asked.tags)}"
            )
    others = {tag for other in FORMATS.values() for tag in other.tags} - set(asked.tags)
    wrong = [tag for tag in found if tag in others]
    if wrong:
        raise ValueError(
            f"the text shows {wrong[0]}, which an answer in the format '{asked.name}' does not have; it has "
            f"{' '.join(asked.tags)}"
        )


def _filled(text: str, words: Mapping[str, str]) -> str:
    """Put words in the place of placeholders, all at once: what a word holds is text."""

    def word(found: re.Match[str]) -> str:
        return found[1][0] if found[1] else words[found[2]]

    return _BRACES.sub(word, text)
