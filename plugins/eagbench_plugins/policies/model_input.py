"""What a local model really reads: the prompt in its chat template, as tokens, and how many of them it has room for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from eagbench.api import UserError, quiet_transformers
from eagbench_plugins.policies import gguf_file

_BEGUN = "<answer>"


class ModelInput:
    """A tokenizer with its chat template, and the model's positions.

    Attributes:
        tokenizer: The tokenizer.
        positions: How many tokens the model reads and writes in all; None if nothing bounds them.
    """

    def __init__(self, tokenizer: Any, config: Any) -> None:
        self.tokenizer = tokenizer
        self.positions = _positions(config)

    @classmethod
    def load(cls, place: Path) -> ModelInput:
        """Read tokenizer and configuration from a model folder or a GGUF file, without the weights."""
        if place.is_file():
            config = gguf_file.load_config(place)
        else:
            config = quiet_transformers().AutoConfig.from_pretrained(place, local_files_only=True)
        return cls(load_tokenizer(place), config)

    def as_input(self, prompt: str) -> str:
        """Return the text that the model actually reads: the prompt in its chat template, if it has one."""
        if not self.tokenizer.chat_template:
            return prompt
        return self._rendered([{"role": "user", "content": prompt}])

    def tokenized(self, texts: Sequence[str], **options: Any) -> Any:
        """Tokenise texts as the model reads them. A chat template brings its own special tokens."""
        return self.tokenizer(list(texts), add_special_tokens=not self.tokenizer.chat_template, **options)

    def prompt_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Count the tokens of each prompt in its chat template."""
        if not prompts:
            return []
        return [len(row) for row in self.tokenized([self.as_input(prompt) for prompt in prompts])["input_ids"]]

    def check(self, prompt: str, where: str) -> None:
        """Check with one real prompt that the model would read the record and then write.

        Raises:
            UserError: The template refuses a user's turn alone or leaves its content out, the tokenizer can't write
                the record, or the input ends in an end token.
        """
        try:
            text = self.as_input(prompt)
        except (TemplateError, TypeError) as error:
            raise self._refused(prompt, where, error) from error
        if prompt.strip() not in text:
            raise self._left_out(prompt, where)
        ends = [token for token in (self.tokenizer.eos_token,) if token]
        begun = self.tokenizer.decode(self.tokenized([text + _BEGUN])["input_ids"][0])
        read = self.tokenizer.decode(self.tokenized([text])["input_ids"][0])
        if any(shown.rstrip().endswith(end) for shown in (read, begun) for end in ends):
            raise UserError(
                f"what the model reads ends in its end token {ends[0]}, so that it would have nothing to say",
                where=where,
                hint="let the chat template open the assistant's turn (add_generation_prompt), or take a tokenizer that"
                " does not append the end token",
            )
        unreadable = self._unreadable(text)
        if unreadable:
            raise UserError(
                f"the tokenizer has no token for {', '.join(unreadable)}, so that the model would not read the record",
                where=where,
                hint="use the tokenizer that the model was trained with",
            )

    def _rendered(self, messages: list[dict[str, Any]]) -> str:
        text: str = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return text

    def _renders(self, prompt: str, messages: list[dict[str, Any]]) -> bool:
        try:
            return prompt.strip() in self._rendered(messages)
        except (TemplateError, TypeError):
            return False

    def _refused(self, prompt: str, where: str, error: Exception) -> UserError:
        turns = [{"role": "system", "content": "You answer."}, {"role": "user", "content": prompt}]
        if self._renders(prompt, turns):
            what, hint = "demands a system turn, and eagbench writes a user turn only", "give the template a default"
        else:
            what, hint = "can't render a user turn", "use a template that knows the role `user`"
        return UserError(
            f"the model's chat template {what}: {error}", where=where, hint=f"{hint} (chat_template.jinja)"
        )

    def _left_out(self, prompt: str, where: str) -> UserError:
        parts = [{"role": "user", "content": [{"type": "text", "text": prompt}]}]
        why = "knows no user turn"
        if self._renders(prompt, parts):
            why = "expects content in parts, and eagbench writes it as text"
        return UserError(
            f"the model's chat template leaves the patient's record out: it {why}",
            where=where,
            hint="use a chat template that writes the content of a user turn (chat_template.jinja)",
        )

    def _unreadable(self, text: str) -> list[str]:
        """List letters and digits that the tokenizer reads as its unknown token."""
        unknown = self.tokenizer.unk_token_id
        if unknown is None or not self.tokenizer.is_fast:
            return []
        encoded = self.tokenized([text], return_offsets_mapping=True)
        pairs = zip(encoded["input_ids"][0], encoded["offset_mapping"][0], strict=True)
        lost = {letter for token, (a, b) in pairs if token == unknown for letter in text[a:b] if letter.isalnum()}
        return sorted(lost)


def load_tokenizer(place: Path) -> Any:
    """Load the tokenizer of a model folder or a GGUF file so that it appends no end token.

    That would end an answer which has only begun.

    Raises:
        UserError: There is none that transformers can open.
    """
    if place.is_file():
        tokenizer = gguf_file.load_tokenizer(place)
    else:
        try:
            tokenizer = quiet_transformers().AutoTokenizer.from_pretrained(place, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UserError(
                f"the tokenizer of this model folder can't be opened: {' '.join(str(error).split())[:300]}",
                where=str(place),
                hint="The folder needs the files of the tokenizer that were published beside the weights.",
            ) from error
    with_special = tokenizer("a")["input_ids"]
    if not with_special or with_special[-1] not in set(tokenizer.all_special_ids):
        return tokenizer
    if tokenizer.is_fast:
        from tokenizers import Tokenizer

        state = json.loads(tokenizer.backend_tokenizer.to_str())
        state["post_processor"] = _without_end(state["post_processor"])
        tokenizer.backend_tokenizer.post_processor = Tokenizer.from_str(json.dumps(state)).post_processor
    else:
        tokenizer.add_eos_token = False
    return tokenizer


def _without_end(processor: Any) -> Any:
    """Take the special tokens after the text out of a post-processor of the package tokenizers."""
    if not isinstance(processor, dict):
        return processor
    if processor.get("type") == "Sequence":
        return {**processor, "processors": [_without_end(part) for part in processor["processors"]]}
    if processor.get("type") != "TemplateProcessing":
        return processor
    changed = dict(processor)
    for name in ("single", "pair"):
        pieces = list(processor[name])
        while pieces and "SpecialToken" in pieces[-1]:
            pieces.pop()
        changed[name] = pieces
    return changed


def _positions(config: Any) -> int | None:
    """Read how many positions a model has, those of a stretched rotary embedding included."""
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    if not isinstance(positions, int):
        return None
    scaling = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    original, factor = scaling.get("original_max_position_embeddings"), scaling.get("factor")
    if isinstance(original, int) and isinstance(factor, int | float):
        return max(positions, int(original * factor))
    return positions
