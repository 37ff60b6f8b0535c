"""Find the tokens of a completion that name the important features, and those of its answer."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from eagbench.api import Style, TokenThoughts
from eagbench_plugins.eagrl.searches.steps import CITATIONS

_SEPARATORS = " \t\r\n\f\v,;"


def feature_token_mask(
    tokenizer: Any, tokens: Sequence[int], style: Style, thoughts: TokenThoughts | None = None
) -> list[bool]:
    """Flag the tokens that belong to a listed feature, without the separators between features.

    Args:
        tokenizer: A transformers tokenizer.
        tokens: The completion, without padding.
        style: Its format; for a style without a list of features all flags are False.
        thoughts: Tells the policy's thought apart, in which no token is flagged.
    """
    if not style.cites_features:
        return [False] * len(tokens)
    return _tokens_after(CITATIONS, tokenizer, tokens, style, thoughts)


def answer_token_mask(
    tokenizer: Any, tokens: Sequence[int], style: Style, thoughts: TokenThoughts | None = None
) -> list[bool]:
    """Flag the tokens of the answer between the style's answer tags, none of them in a thought."""
    return _tokens_after(style.answer_open, tokenizer, tokens, style, thoughts)


def _tokens_after(
    opening: str, tokenizer: Any, tokens: Sequence[int], style: Style, thoughts: TokenThoughts | None
) -> list[bool]:
    """Flag the tokens between an opening tag and the next tag, except those that hold separators only.

    The completion is only decoded, never encoded again, because a policy may split a word into other tokens than the
    tokenizer would. A token's end position is the length of the text decoded up to and including it.
    """

    def text_up_to(n: int) -> str:
        text: str = tokenizer.decode(tokens[:n], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    mask = [False] * len(tokens)
    text = text_up_to(len(tokens))
    answer = 0 if thoughts is None else thoughts.answer_start(tokens)
    if answer is None:
        return mask
    ends = "|".join(re.escape(tag) for tag in style.tags)
    pattern = re.compile(f"{re.escape(opening)}(.*?)(?={ends}|$)", re.DOTALL)
    for section in pattern.finditer(text, len(text_up_to(answer))):
        start, end = section.span(1)
        token = bisect_right(range(len(tokens) + 1), start, key=lambda n: len(text_up_to(n))) - 1
        begins = len(text_up_to(token))
        while begins < end and token < len(tokens):
            stops = len(text_up_to(token + 1))
            mask[token] = bool(text[max(begins, start) : min(stops, end)].strip(_SEPARATORS))
            token, begins = token + 1, stops
    return mask
