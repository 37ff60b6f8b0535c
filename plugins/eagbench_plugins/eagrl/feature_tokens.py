"""Which tokens of a completion name the important features, and which are its answer."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from eagbench.api import Style

_OPEN = "<Important Features>"
_SEPARATORS = " \t\r\n\f\v,;"


def feature_token_mask(tokenizer: Any, tokens: Sequence[int], style: Style) -> list[bool]:
    """For each token whether it belongs to a listed feature; separators between features do not.

    Args:
        tokenizer: A transformers tokenizer.
        tokens: The completion, without padding.
        style: Its format; a style without a list of features gives no token.
    """
    return _tokens_after(_OPEN, tokenizer, tokens, style) if style.cites_features else [False] * len(tokens)


def answer_token_mask(tokenizer: Any, tokens: Sequence[int], style: Style) -> list[bool]:
    """For each token whether it belongs to the answer between the style's answer tags."""
    return _tokens_after(style.answer_open, tokenizer, tokens, style)


def _tokens_after(opening: str, tokenizer: Any, tokens: Sequence[int], style: Style) -> list[bool]:
    """For each token whether it holds more than separators of what stands between an opening tag and the next tag.

    The text of a completion is decoded and not encoded again, since a policy may write a word in other tokens than the
    tokenizer would. Where a token ends is found as the length of the text up to it.
    """

    def text_up_to(n: int) -> str:
        text: str = tokenizer.decode(tokens[:n], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    mask = [False] * len(tokens)
    text = text_up_to(len(tokens))
    ends = "|".join(re.escape(tag) for tag in style.tags)
    for section in re.finditer(f"{re.escape(opening)}(.*?)(?={ends}|$)", text, re.DOTALL):
        start, end = section.span(1)
        token = bisect_right(range(len(tokens) + 1), start, key=lambda n: len(text_up_to(n))) - 1
        begins = len(text_up_to(token))
        while begins < end and token < len(tokens):
            stops = len(text_up_to(token + 1))
            mask[token] = bool(text[max(begins, start) : min(stops, end)].strip(_SEPARATORS))
            token, begins = token + 1, stops
    return mask
