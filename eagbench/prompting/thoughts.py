"""Split what a model wrote into its thought and its answer.

A thought begins where the chat template or the model itself opens it, and nowhere else than at the beginning of what
the model writes. It ends at the first closing tag after that, whatever is drafted in it, and by token where the tag is
a token of its own. Harmony's channels (gpt-oss) are read in the same way: all up to the message on the channel `final`
is the thought.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from eagbench.contracts.language_models import Generation, Thought
from eagbench.errors import UserError

# What opens and closes a thought: Qwen3, DeepSeek-R1 and most others; Magistral; Seed-OSS; HuatuoGPT-o1.
TAGS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("## Thinking", "## Final Response"),
)
_CHANNEL, _MESSAGE = "<|channel|>", "<|message|>"
_BEGINS_CHANNEL = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>")
_HEADER = re.compile(r"<\|channel\|>\s*(\w*)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
# A server that decodes harmony without its special tokens leaves the names of role and channels behind.
_BARE_ANALYSIS, _BARE_FINAL = re.compile(r"analysis(?![a-z\s])"), "assistantfinal"
# So many tokens are decoded to see whether a text begins with an opening tag.
_FIRST_TOKENS = 24


@dataclass(frozen=True, slots=True)
class ThoughtFormat:
    """How the texts of a model begin.

    Attributes:
        ends_at: What ends the thought that is open before the model writes anything: a closing tag, or `<|channel|>`
            for harmony. None if no thought is open.
        may_open: Whether the model may open a thought itself. It can't within a begun answer.
        template_known: Whether `ends_at` follows from the template. The template of a server is unknown; a closing tag
            without an opening one then shows that it opened the thought.
    """

    ends_at: str | None = None
    may_open: bool = True
    template_known: bool = True

    def split(self, text: str) -> tuple[Thought | None, str]:
        """Split a text into the thought, None if there is none, and the rest; see `Generation`."""
        end = self.end(text)
        if end is None:
            return Thought(text, closed=False), ""
        return (Thought(text[:end]), text[end:]) if end else (None, text)

    def end(self, text: str) -> int | None:
        """Find where the answer begins: 0 without a thought, None if the thought is not closed."""
        opened = self.opened(text)
        if opened is None:
            return 0
        if opened == _CHANNEL:
            return next((header.end() for header in _HEADER.finditer(text) if header.group(1) == "final"), None)
        position = text.find(opened)
        return None if position < 0 else position + len(opened)

    def opened(self, text: str) -> str | None:
        """Return what ends the thought with which a text begins, None if it begins with none."""
        if self.ends_at is not None or not self.may_open:
            return self.ends_at
        if _BEGINS_CHANNEL.match(text):
            return _CHANNEL
        start = text.lstrip()
        found = next((close for opening, close in TAGS if start.startswith(opening)), None)
        if found is not None or self.template_known:
            return found
        if _BARE_ANALYSIS.match(text):
            return _BARE_FINAL
        return min(((text.find(close), close) for _, close in TAGS if close in text), default=(0, None))[1]

    def shows_template(self, thought: Thought | None) -> bool:
        """Check whether a thought shows that the template opened it: it was closed and not opened."""
        if self.template_known or thought is None or not thought.closed:
            return False
        return PLAIN.opened(thought.text) is None

    def closed(self, text: str) -> str:
        """Return a text to learn, with the thought closed that the template opens and the text does not close."""
        if self.ends_at is None or self.end(text) is not None:
            return text
        closing = "<|end|><|start|>assistant<|channel|>final<|message|>" if self.ends_at == _CHANNEL else self.ends_at
        return f"\n{closing}\n\n{text}"

    def after(self, written: str) -> ThoughtFormat:
        """Return how the text goes on after a begun one.

        Raises:
            UserError: The template opens a thought and `written` does not close it: a begun answer would stand inside.
        """
        end = self.end(written)
        if self.ends_at is not None and end is None:
            name = "harmony's channel `final`" if self.ends_at == _CHANNEL else f"`{self.ends_at}`"
            raise UserError(
                f"this model's chat template opens a thought, which ends at {name}: an answer that is begun for the"
                " model would stand inside the thought",
                where="policy, a begun answer",
                hint="use methods and searches in which the model writes whole answers (`greedy`, `best_of_n`), or a"
                " chat template that opens no thought",
            )
        return ThoughtFormat(self.opened(written) if end is None else None, may_open=False)


# No thought is open; the model may open one, or can't.
PLAIN, NO_THOUGHT = ThoughtFormat(), ThoughtFormat(may_open=False)
# A model on a server: nothing is known of its template, or that it opens a thought.
FROM_SERVER, TEMPLATE_OPENS = ThoughtFormat(template_known=False), ThoughtFormat("</think>")


def format_after_template(tail: str) -> ThoughtFormat:
    """Return how a model's texts begin, given what its chat template puts after the user's message.

    Args:
        tail: The end of the model's input, without the prompt, which may name the tags itself.
    """
    headers = list(_HEADER.finditer(tail))
    if headers:
        return ThoughtFormat(None if headers[-1].group(1) == "final" else _CHANNEL)
    still_open = [(tail.rfind(opening), close) for opening, close in TAGS if tail.rfind(opening) > tail.rfind(close)]
    return ThoughtFormat(max(still_open)[1]) if still_open else PLAIN


class _ReadsPrompts(Protocol):
    tokenizer: Any

    def as_input(self, prompt: str) -> str: ...


class TokenThoughts:
    """Splits the tokens that a local model wrote.

    Args:
        tokenizer: A transformers tokenizer.
        begins: How the model's texts begin.
    """

    def __init__(self, tokenizer: Any, begins: ThoughtFormat) -> None:
        self.begins = begins
        self._tokenizer = tokenizer
        self._added: dict[str, int] = tokenizer.get_added_vocab()

    @classmethod
    def of(cls, model: _ReadsPrompts) -> TokenThoughts:
        """Find out from its chat template how a model's texts begin."""
        probe = "record"
        read = model.as_input(probe)
        return cls(model.tokenizer, format_after_template(read[read.rfind(probe) + len(probe) :]))

    def after(self, written: str) -> TokenThoughts:
        """Return how the tokens after a begun text are split; see `ThoughtFormat.after`."""
        return TokenThoughts(self._tokenizer, self.begins.after(written)) if written else self

    def split(self, tokens: Sequence[int]) -> Generation:
        """Decode tokens, without the end token, into thought and text."""
        opened = self._opened(tokens)
        if opened is None:
            return Generation(self._decode(tokens), len(tokens))
        if not self._is_token(opened):
            thought, text = ThoughtFormat(opened).split(self._decode(tokens))
            return Generation(text, len(tokens), thought)
        end = self.answer_start(tokens)
        if end is None:
            return Generation("", len(tokens), Thought(self._decode(tokens, special=True), closed=False))
        return Generation(self._decode(tokens[end:]), len(tokens), Thought(self._decode(tokens[:end], special=True)))

    def answer_start(self, tokens: Sequence[int]) -> int | None:
        """Find the first token after the thought: 0 without a thought, None if it is not closed."""
        opened = self._opened(tokens)
        if opened is None:
            return 0
        if opened == _CHANNEL and self._is_token(_CHANNEL):
            return self._after_final_header(tokens)
        if self._is_token(opened):
            return list(tokens).index(self._added[opened]) + 1 if self._added[opened] in tokens else None
        end = ThoughtFormat(opened).end(self._decode(tokens))
        if end is None:
            return None
        return bisect_left(range(len(tokens)), end, key=lambda n: len(self._decode(tokens[:n])))

    def _is_token(self, opened: str) -> bool:
        return opened in self._added

    def _opened(self, tokens: Sequence[int]) -> str | None:
        return self.begins.opened(self._decode(tokens[:_FIRST_TOKENS], special=True))

    def _after_final_header(self, tokens: Sequence[int]) -> int | None:
        begun = None
        for i, token in enumerate(tokens):
            if token == self._added[_CHANNEL]:
                begun = i
            elif token == self._added.get(_MESSAGE) and begun is not None:
                header = _HEADER.match(self._decode(tokens[begun : i + 1], special=True))
                if header is not None and header.group(1) == "final":
                    return i + 1
                begun = None
        return None

    def _decode(self, tokens: Sequence[int], *, special: bool = False) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=not special, clean_up_tokenization_spaces=False)
        return text
