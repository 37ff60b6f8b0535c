"""The prompts that ask for an answer: a record, and the wording around it.

The built-in wordings are the data files in `prompts/`, one per answer format. `question_decomposition` is the policy
question decomposition (PQD) of EAG-RL (arXiv 2508.13579), with its tags; `vanilla` and `think_answer` are the paper's
baselines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from eagbench.config.prompt_files import read_wording
from eagbench.config.settings import LEVELS
from eagbench.contracts.prompts import FORMATS, FormatName, Wording
from eagbench.contracts.records import Case, Cases, Task
from eagbench.errors import UserError
from eagbench.prompting.record import RecordText, Span

# The built-in prompts have the names of the formats that they ask for.
StyleName = FormatName


def level_texts(levels: Iterable[float]) -> tuple[str, ...]:
    """Write the levels of an answer as it gives them. All have two decimals, so none is the beginning of another."""
    return tuple(f"{level:.2f}" for level in levels)


# The levels by default, in which policies learn the formats.
ANSWER_LEVELS = level_texts(LEVELS)


@dataclass(frozen=True, slots=True)
class Style:
    """A prompt: how a policy is asked, and the format in which its answer is read.

    Attributes:
        name: The name in the YAML.
        wording: What the prompt says beside the record.
    """

    name: str
    wording: Wording

    @property
    def format(self) -> FormatName:
        """The name of the answer's format."""
        return self.wording.format

    @property
    def instruction(self) -> str:
        """What the prompt says about the format, with its placeholders."""
        return self.wording.instruction

    @property
    def tags(self) -> tuple[str, ...]:
        """Every tag of the format, opening tags before closing ones."""
        return FORMATS[self.format].tags

    @property
    def answer_open(self) -> str:
        """The tag before the probability."""
        return FORMATS[self.format].answer_open

    @property
    def answer_close(self) -> str:
        """The tag after the probability. An answer without it may have been cut short and can't be parsed."""
        return FORMATS[self.format].answer_close

    @property
    def cites_features(self) -> bool:
        """Whether the answer lists the features it found important."""
        return FORMATS[self.format].cites_features


_FILES = Path(__file__).parent / "prompts"

STYLES: dict[str, Style] = {name: Style(name, read_wording(_FILES / f"{name}.yaml")) for name in FORMATS}


def question(task: Task) -> str:
    """Write the question about every case of a task, as the built-in prompts ask it."""
    return STYLES["vanilla"].wording.asked(_words(task))


def _words(task: Task) -> Mapping[str, str]:
    return {"role": task.role, "outcome": task.outcome, "window_hours": f"{task.window_hours:g}"}


def style_for(style: Style, case: Case) -> Style:
    """Return the style in the words that a perturbation gives this case's prompt; the style itself without any.

    Raises:
        UserError: The perturbation has no other words for this prompt, or words that ask for another format.
    """
    if not case.wordings:
        return style
    other = case.wordings.get(style.name)
    if other is None:
        raise UserError(
            f"there are no other words for the prompt '{style.name}'",
            where="the condition that changes the wording",
            hint=f"give it some: `wordings: {{{style.name}: [OTHER.yaml]}}`; it has words for "
            + ", ".join(case.wordings),
        )
    if other.format != style.format:
        raise UserError(
            f"the other words for '{style.name}' ask for the format '{other.format}', and its answers are read in "
            f"'{style.format}'",
            where="the condition that changes the wording",
            hint="only the words may differ",
        )
    return replace(style, wording=other)


def prompt_text(style: Style, case: Case, cases: Cases, record_text: RecordText) -> str:
    """Write the full prompt for one case: role, record, question, format.

    Args:
        style: How it is asked.
        case: The case.
        cases: Cases of the same cohort, for the description of task and features.
        record_text: The fitted record text; its `instructions` say how much the prompt explains.
    """
    return prompt_with_spans(style, case, cases, record_text)[0]


def prompt_with_spans(style: Style, case: Case, cases: Cases, record_text: RecordText) -> tuple[str, dict[str, Span]]:
    """Write the prompt as `prompt_text` does, and also return the span of each feature's text in it."""
    record, spans = record_text.render_with_spans(case, cases)
    prompt = compose_prompt(style_for(style, case), record, cases.task, record_text.params.instructions)
    offset = prompt.index(record)
    return prompt, {name: (start + offset, end + offset) for name, (start, end) in spans.items()}


def compose_prompt(style: Style, record: str, task: Task, instructions: Literal["full", "short"]) -> str:
    """Write the prompt around a rendered record.

    It ends with a line break, and the policy writes after that.
    """
    return style.wording.prompt(record, _words(task), short=instructions == "short")
