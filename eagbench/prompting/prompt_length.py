"""Refuses prompts that are longer than a policy reads, before anything is trained on them or asked with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eagbench.contracts.language_models import PromptCounter
from eagbench.errors import UserError


def refuse_long_prompts(model: Any, prompts: Sequence[str], answer_tokens: int, where: str = "policy") -> None:
    """Refuse prompts that do not fit into what the policy reads, together with their answers.

    Args:
        model: The policy's model. One that can't count (on a server) refuses a long prompt itself.
        prompts: One prompt per case.
        answer_tokens: Tokens that an answer needs.
        where: The place for the error message.

    Raises:
        UserError: At least one prompt is too long. Nothing is ever cut.
    """
    if not isinstance(model, PromptCounter) or model.positions is None or not prompts:
        return
    lengths = model.prompt_tokens(prompts)
    longest, limit = max(lengths), model.positions
    if longest + answer_tokens <= limit:
        return
    count = sum(length + answer_tokens > limit for length in lengths)
    raise UserError(
        f"{count} of {len(prompts)} prompts are too long: the longest prompt takes {longest} tokens, its answer up to "
        f"{answer_tokens}; the policy reads {limit}",
        where=where,
        hint="show less of a record (`record_text: periods`, `values: compact` or `quantile`, `instructions: short`), "
        "take fewer `shots`, lower the method's `max_new_tokens`, or take a model that reads more",
    )
