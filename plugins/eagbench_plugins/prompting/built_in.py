"""The built-in prompts, one per answer format. Their words are data files of the core, which reads answers to them."""

from __future__ import annotations

from typing import ClassVar

from eagbench.api import STYLES, StrictParams, Wording


class BuiltInPrompt:
    """Base of the built-in prompts."""

    name: ClassVar[str]

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def wording(self) -> Wording:
        """Return the words."""
        return STYLES[self.name].wording


class Vanilla(BuiltInPrompt):
    """Asks for the probability alone: a baseline of the EAG-RL paper (arXiv 2508.13579)."""

    name = "vanilla"


class ThinkAnswer(BuiltInPrompt):
    """Asks for reasoning, then the probability: a baseline of the EAG-RL paper (arXiv 2508.13579)."""

    name = "think_answer"


class QuestionDecomposition(BuiltInPrompt):
    """Asks for subquestions with answers, important features and the probability: PQD of EAG-RL (arXiv 2508.13579)."""

    name = "question_decomposition"
