"""What an opened policy can do. One protocol an ability; a policy's model follows those that it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from eagbench.contracts.records import FloatArray

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a language model writes.

    Attributes:
        max_new_tokens: Upper bound on tokens written.
        temperature: 0 is greedy.
        top_p: Nucleus.
        stop: Strings after which writing ends; they stay in the text.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """A text that a language model wrote, and how many tokens it took."""

    text: str
    tokens: int


@runtime_checkable
class LanguageModel(Protocol):
    """An opened policy. Prompts are plain text; a chat template, if there is one, is the model's own business."""

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """One text per prompt, batched. The same prompts and seed give the same texts, whatever the batch size.

        Args:
            prompts: What is asked.
            sampling: How to write.
            seed: Seed of the draws.
            written: For each prompt the beginning of the answer that is to be continued; what is returned begins
                after it.
        """
        ...

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> FloatArray:
        """Probability of each candidate as the next text after prompt + written, normalised over candidates.

        Returns:
            Shape (len(prompts), len(candidates)), rows summing to 1.
        """
        ...


@runtime_checkable
class AttentionProbe(Protocol):
    """A language model that can say where it looks: a policy whose attention is to be measured."""

    def attention_to(
        self,
        prompts: Sequence[str],
        written: Sequence[str],
        answers: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]],
        layers: float = 0.5,
    ) -> list[list[float]]:
        """The attention that parts of each prompt get while the model answers.

        Measured at the positions from which the answer's tokens are predicted (the end of `written`, and all of the
        answer but its last token), with the model as it is now, without gradient. The same numbers whatever the batch
        size, but for rounding.

        Args:
            prompts: What is asked.
            written: For each prompt what the model wrote before its answer.
            answers: For each prompt the answer's own text, tokenised by itself; empty where it was not written.
            spans: For each prompt the parts to measure, as first and last-plus-one character of the prompt.
            layers: Share of the layers over which the mean is taken, counted from the last.

        Returns:
            For each prompt and part the attention weight per token: the mean over positions, heads and layers of the
            sum over the part's tokens, divided by their number. Not normalised.

        Raises:
            UserError: The model does not give its attention.
        """
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """A language model that can turn a text into a vector: a frozen policy whose representation another model reads."""

    def encode(self, prompts: Sequence[str]) -> FloatArray:
        """The last layer's hidden state of each prompt, its mean over the tokens that the model reads.

        Without gradient. The same numbers whatever the batch size, but for rounding.

        Returns:
            Shape (len(prompts), D), float32.
        """
        ...


@runtime_checkable
class TrainableLanguageModel(LanguageModel, Protocol):
    """A language model whose weights are here, as transformers' objects: what a training stage needs.

    Attributes:
        model: A transformers causal language model.
        tokenizer: Its (fast) tokenizer.
    """

    model: Any
    tokenizer: Any

    def as_input(self, prompt: str) -> str:
        """The text that the model really reads: the prompt in the model's chat template, if it has one."""
        ...
