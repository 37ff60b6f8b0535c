"""The three answer formats, and the prompts that ask for them.

`question_decomposition` is the policy question decomposition (PQD) of EAG-RL (arXiv 2508.13579), with its tags;
`vanilla` and `think_answer` are the paper's baselines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eagbench.contracts.records import Case, Cases, Task
from eagbench.prompting.record import RecordText, Span

StyleName = Literal["vanilla", "think_answer", "question_decomposition"]

# The probabilities over whose tokens the `expectation` answer mode weighs. All have two decimals, so that none is the
# beginning of another.
ANSWER_LEVELS: tuple[str, ...] = tuple(f"{percent / 100:.2f}" for percent in range(5, 100, 5))


@dataclass(frozen=True, slots=True)
class Style:
    """An answer format.

    Attributes:
        name: The name in the YAML.
        instruction: What the prompt says about the format.
        tags: Every tag of the format, opening tags before closing ones.
        answer_open: The tag before the probability.
        answer_close: The tag after the probability. An answer without it may have been cut short and can't be parsed.
        cites_features: Whether the answer lists the features it found important.
    """

    name: StyleName
    instruction: str
    tags: tuple[str, ...]
    answer_open: str
    answer_close: str
    cites_features: bool


_PROBABILITY = "The probability is a decimal number between 0 and 1 with two decimals."

STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style(
            name="vanilla",
            instruction=f"Answer with the probability only, in this format:\n<answer>0.00</answer>\n{_PROBABILITY}",
            tags=("<answer>", "</answer>"),
            answer_open="<answer>",
            answer_close="</answer>",
            cites_features=False,
        ),
        Style(
            name="think_answer",
            instruction=(
                "First reason about the record, then answer with the probability, in this format:\n"
                f"<think> your reasoning </think><answer>0.00</answer>\n{_PROBABILITY}"
            ),
            tags=("<think>", "<answer>", "</think>", "</answer>"),
            answer_open="<answer>",
            answer_close="</answer>",
            cites_features=False,
        ),
        Style(
            name="question_decomposition",
            instruction=(
                "Split the question into one to five subquestions about this record and answer each from it. Then "
                "repeat the question, list the features that matter most, named as in the record and separated by "
                "commas, and give the probability. Write in this format and nothing else:\n"
                "<Subquestion> your first subquestion <Answer> its answer "
                "<Subquestion> your next subquestion <Answer> its answer "
                "<Final subquestion> the question "
                "<Important Features> feature, feature, feature <Final answer>0.00</Final answer>\n"
                f"{_PROBABILITY}"
            ),
            tags=(
                "<Subquestion>",
                "<Answer>",
                "<Final subquestion>",
                "<Important Features>",
                "<Final answer>",
                "</Final answer>",
            ),
            answer_open="<Final answer>",
            answer_close="</Final answer>",
            cites_features=True,
        ),
    )
}


def question(task: Task) -> str:
    """Write the question about every case of a task."""
    return f"How likely is it that this patient will {task.outcome}?"


def prompt_text(style: Style, case: Case, cases: Cases, record_text: RecordText) -> str:
    """Write the full prompt for one case: role, record, question, format.

    Args:
        style: The answer format.
        case: The case.
        cases: Cases of the same cohort, for the description of task and features.
        record_text: The fitted record text; its `instructions` say how much the prompt explains.
    """
    return prompt_with_spans(style, case, cases, record_text)[0]


def prompt_with_spans(style: Style, case: Case, cases: Cases, record_text: RecordText) -> tuple[str, dict[str, Span]]:
    """Write the prompt as `prompt_text` does, and also return the span of each feature's text in it."""
    record, spans = record_text.render_with_spans(case, cases)
    prompt = compose_prompt(style, record, cases.task, record_text.params.instructions)
    offset = prompt.index(record)
    return prompt, {name: (start + offset, end + offset) for name, (start, end) in spans.items()}


def compose_prompt(style: Style, record: str, task: Task, instructions: Literal["full", "short"]) -> str:
    """Write the prompt around a rendered record.

    It ends with a line break, and the policy writes after that.
    """
    if instructions == "short":
        return f"{record}\n{question(task)}\nFormat: {style.name}\n"
    return (
        f"You are {task.role}.\n\nThe record of a patient:\n{record}\n\n"
        f"Question: {question(task)}\n\n{style.instruction}\n"
    )
