"""What an opened policy can do: one protocol per ability. A policy's model implements those of its abilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from eagbench.contracts.records import FloatArray


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a language model writes.

    Attributes:
        max_new_tokens: Maximum number of tokens to write.
        temperature: 0 is greedy.
        top_p: Probability mass of the nucleus.
        stop: Strings that end the writing once the model answers; they stay in the text. In a thought they end nothing.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Thought:
    """What a language model wrote before its answer, in the form that the model or its template marks as thinking.

    Attributes:
        text: The thought verbatim, with the tags that the model wrote: the answer follows it directly.
        closed: Whether it was closed. If not, there is no answer.
    """

    text: str
    closed: bool = True


@dataclass(frozen=True, slots=True)
class Generation:
    """A text that a language model wrote.

    Attributes:
        text: What it wrote, without its thought; empty if the thought was not closed.
        tokens: Number of tokens, those of the thought included.
        thought: The model's thought, None if it wrote none.
        too_long: The prompt, or prompt and text together, did not fit into what the model reads. The text is then empty
            or breaks off; the prompt was not shortened.
    """

    text: str
    tokens: int
    thought: Thought | None = None
    too_long: bool = False

    @property
    def verbatim(self) -> str:
        """The thought and the text, as the model wrote them."""
        return self.text if self.thought is None else self.thought.text + self.text


@runtime_checkable
class LanguageModel(Protocol):
    """An opened policy. Prompts are plain text; the model applies its own chat template, if it has one."""

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """Write one text per prompt, batched. The same prompts and seed give the same texts, whatever the batch size.

        Args:
            prompts: The prompts.
            sampling: How to write.
            seed: Seed of the draws.
            written: For each prompt the beginning of the answer, which the model continues. The returned text starts
                after it.
        """
        ...

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> FloatArray:
        """Compute each candidate's probability as the next text after prompt + written, normalised over candidates.

        Returns:
            Shape (len(prompts), len(candidates)), rows summing to 1; a row of NaN where prompt + written does not fit
            into what the model reads.
        """
        ...


@runtime_checkable
class RemembersTexts(Protocol):
    """A language model that keeps what it read from call to call. The last bits of an answer may depend on it."""

    def forget(self) -> None:
        """Forget what was read: the next calls give the bits that they give to a model just opened."""
        ...


@runtime_checkable
class WritesOn(LanguageModel, RemembersTexts, Protocol):
    """A language model with local weights that takes up texts while it writes others: nobody waits for the longest.

    `forget` drops the requests, too.
    """

    @property
    def writes_on(self) -> bool:
        """Whether it does; one that can't read in trees writes batch by batch."""
        ...

    def take_up(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> int:
        """Take up one text per prompt, to be written as `generate` writes them.

        Returns:
            The number of this request.
        """
        ...

    def write_on(self) -> dict[int, list[Generation]]:
        """Go on by a token with every text that there is memory for.

        Returns:
            The requests whose last text was finished by it, in the order of their numbers.
        """
        ...


@runtime_checkable
class SharesPrompts(Protocol):
    """A language model with local weights that reads once what texts begin with, and can be trained that way."""

    @property
    def shares_prompts(self) -> bool:
        """Whether it does: whether rows with a mask of their own give the logits of texts read one by one."""
        ...

    def continue_tokens(
        self, texts: Sequence[Sequence[int]], sampling: Sampling, draws: FloatArray, ends: frozenset[int]
    ) -> list[list[int]]:
        """Write after N texts of tokens, with the weights as they are now and without what was read before.

        Args:
            texts: The tokens of each text; those that begin alike stand together.
            sampling: Temperature, nucleus and the most tokens; stop strings are not looked at.
            draws: Uniform numbers in [0, 1), one per text and token, (N, `sampling.max_new_tokens`).
            ends: The tokens that end a text.

        Returns:
            The tokens written after each text, the one that ended it included.
        """
        ...


@runtime_checkable
class KnowsItsMemory(Protocol):
    """A language model with a declared amount of memory to be kept to, in writing and in training.

    Attributes:
        memory_gb: Memory in GB (10^9 bytes). It is declared and not measured, so that a run is the same everywhere.
    """

    memory_gb: float


@runtime_checkable
class OnSeveralDevices(Protocol):
    """A language model with a whole copy on each of several devices, which divide the texts between them.

    Training opens the policy once more in a process per device (`is_device_process`), and gets one copy there.

    Attributes:
        devices: How many there are.
        tokenizer: The model's (fast) tokenizer.
    """

    devices: int
    tokenizer: Any


@runtime_checkable
class PromptCounter(Protocol):
    """A language model that knows how much it reads, so that prompts too long for it are found beforehand.

    Attributes:
        positions: How many tokens it reads and writes in all; None if nothing bounds them.
    """

    positions: int | None

    def prompt_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Count the tokens of each prompt, as the model reads it."""
        ...


@runtime_checkable
class AttentionProbe(Protocol):
    """A language model that gives its attention, so that a policy's attention can be measured."""

    def attention_to(
        self,
        prompts: Sequence[str],
        written: Sequence[str],
        answers: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]],
        layers: float = 0.5,
    ) -> list[list[float]]:
        """Measure the attention that parts of each prompt get while the model answers.

        Measured at the positions that predict the answer's tokens: the end of `written`, and all of the answer but its
        last token. Uses the model's current weights, without gradient. The batch size changes the numbers by rounding
        only.

        Args:
            prompts: The prompts.
            written: For each prompt what the model wrote before its answer.
            answers: For each prompt the answer's own text, tokenised by itself; empty if there is none.
            spans: For each prompt the parts to measure, as first and last-plus-one character of the prompt.
            layers: Share of the layers to average over, counted from the last.

        Returns:
            For each prompt and part the attention weight per token: the mean over positions, heads and layers of the
            sum over the part's tokens, divided by their number. Not normalised.

        Raises:
            UserError: The model can't give its attention.
        """
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """A language model that turns a text into a vector: a frozen policy whose representation another model reads."""

    def encode(self, prompts: Sequence[str]) -> FloatArray:
        """Compute each prompt's last hidden state, averaged over the tokens that the model reads.

        Without gradient. The batch size changes the numbers by rounding only.

        Returns:
            Shape (len(prompts), D), float32.
        """
        ...


@runtime_checkable
class TrainableLanguageModel(LanguageModel, Protocol):
    """A language model with local weights, as transformers objects: what a training stage needs.

    Attributes:
        model: A transformers causal language model.
        tokenizer: Its (fast) tokenizer.
    """

    model: Any
    tokenizer: Any

    def as_input(self, prompt: str) -> str:
        """Return the text that the model really reads: the prompt in the model's chat template, if it has one."""
        ...
