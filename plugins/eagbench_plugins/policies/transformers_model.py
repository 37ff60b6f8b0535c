"""A transformers causal language model, opened from a folder, as a `LanguageModel`.

Generation has its own loop instead of `model.generate`, for one reason: every text draws from its own random stream,
seeded by the seed, the prompt and how often the prompt occurred before. So a sampled text depends on neither the batch
nor the order of the prompts. It also reads no beginning twice (`tree_reading`), within
a call and over calls. (Rounding may still differ between batch shapes: in float32 that only decides a draw or a tie
within the last bits; in half precision it happens more often.)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eagbench.api import (
    FloatArray,
    Generation,
    Sampling,
    TokenThoughts,
    UserError,
    quiet_transformers,
    refuse_long_prompts,
)
from eagbench_plugins.policies import gguf_file
from eagbench_plugins.policies.continuous_writing import ContinuousWriter, Text
from eagbench_plugins.policies.device import device_here
from eagbench_plugins.policies.drawing import random_streams
from eagbench_plugins.policies.eager_attention import eager_attention
from eagbench_plugins.policies.model_input import ModelInput, load_tokenizer
from eagbench_plugins.policies.packed_weights import packed_bytes
from eagbench_plugins.policies.padded_reading import PaddedReader
from eagbench_plugins.policies.precision import DType, resolved
from eagbench_plugins.policies.rereading import equal_lengths
from eagbench_plugins.policies.tree_reading import TreeReader, reads_in_trees
from eagbench_plugins.policies.writing import write
from eagbench_plugins.policies.writing_memory import MEMORY_GB, divided


class TransformersModel:
    """A causal language model with its tokenizer.

    Attributes:
        model: The transformers model, in evaluation mode.
        tokenizer: Its tokenizer.
        batch_size: Most texts that go through the model at once; `memory_gb` may allow fewer.
        memory_gb: Declared memory, from which follow the texts generated at once and the rows of a training step.
        cache_gb: Most memory of the keys and values that are kept from call to call.
        positions: How many tokens the model reads and writes in all; None if nothing bounds them.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        batch_size: int,
        cache_gb: float | None = None,
        memory_gb: float = MEMORY_GB,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.memory_gb = memory_gb
        self._memory = divided(model, memory_gb, cache_gb, packed_bytes(model))
        self.cache_gb = self._memory.cache_gb
        self._input = ModelInput(tokenizer, model.config)
        self.positions = self._input.positions
        ends = model.generation_config.eos_token_id
        if ends is None:
            ends = tokenizer.eos_token_id
        self._ends = frozenset([ends] if isinstance(ends, int) else ends or ())
        self._pad = next(t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if t is not None)
        self._padded = PaddedReader(model, self._pad)
        self._writer: ContinuousWriter | None = None

    @cached_property
    def thoughts(self) -> TokenThoughts:
        """How the model's thought is told apart, as its chat template and its tokens have it."""
        return TokenThoughts.of(self)

    @classmethod
    def load(
        cls,
        place: Path,
        *,
        dtype: DType = "auto",
        device: str = "auto",
        batch_size: int = 64,
        cache_gb: float | None = None,
        memory_gb: float = MEMORY_GB,
    ) -> TransformersModel:
        """Open a folder that `save_pretrained` wrote (or one downloaded from a hub), or a GGUF file.

        Args:
            place: The model folder or the GGUF file.
            dtype: `float32`, `bfloat16`, `float16`, or `auto`; see `precision.resolved`.
            device: A torch device, or `auto`: a GPU if there is one.
            batch_size: Most texts generated at once.
            cache_gb: Most memory of the keys and values that are kept from call to call; None for half of what the
                weights leave of `memory_gb`.
            memory_gb: Declared memory.

        Raises:
            UserError: The weights do not fit into the memory, or this machine has no such device.
        """
        transformers = quiet_transformers()
        device = device_here(device)
        tokenizer = load_tokenizer(place)
        precision = getattr(torch, resolved(dtype, device))
        if place.is_file():
            model = gguf_file.load_weights(place, precision)
        else:
            model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=precision, local_files_only=True)
        return cls(model.to(device).eval(), tokenizer, batch_size, cache_gb, memory_gb)

    def as_input(self, prompt: str) -> str:
        """Return the text that the model actually reads: the prompt in its chat template, if it has one."""
        return self._input.as_input(prompt)

    def prompt_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Count the tokens of each prompt in its chat template."""
        return self._input.prompt_tokens(prompts)

    def forget(self) -> None:
        """Forget what was read, so that the next calls give the bits that they give to a model just opened."""
        self._reader.forget()
        self._writer = None

    @property
    def writes_on(self) -> bool:
        """Whether it takes up texts while it writes others; see `WritesOn`."""
        return isinstance(self._reader, TreeReader)

    @property
    def shares_prompts(self) -> bool:
        """Whether the model reads in trees; see `SharesPrompts`."""
        return isinstance(self._reader, TreeReader)

    def continue_tokens(
        self, texts: Sequence[Sequence[int]], sampling: Sampling, draws: FloatArray, ends: frozenset[int]
    ) -> list[list[int]]:
        """Write after N texts of tokens; see `SharesPrompts`."""
        self.forget()
        was_training = self.model.training
        self.model.eval()  # no dropout, and no layer that drops what it read because its activations are recomputed
        written: list[list[int]] = []
        try:
            size = self._at_once(texts, sampling.max_new_tokens)
            for start in range(0, len(texts), size):
                part = texts[start : start + size]
                written += write(
                    self._reader,
                    part,
                    [sampling.max_new_tokens] * len(part),
                    sampling,
                    draws[start : start + size],
                    lambda _, tokens: tokens[-1] in ends,
                )
        finally:
            self.model.train(was_training)
            self.forget()  # the training step that follows needs the memory
        return written

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """Generate one text per prompt, batched by length. Equal prompts, beginnings and seed give equal texts."""
        texts = self._texts(prompts, sampling, seed, written)
        ids = [text.read for text in texts]
        longest = max((len(text.read) + text.room for text in texts if text.room > 0), default=0)
        size = self._memory.texts(longest, self.batch_size)
        for rows in self._batches(ids, size, [i for i, text in enumerate(texts) if text.room > 0]):
            batch = [texts[i] for i in rows]
            drawn = [text.draws for text in batch if text.draws is not None]
            draws = np.stack(drawn) if drawn else None  # (B, steps)
            tokens = write(
                self._reader,
                [text.read for text in batch],
                [text.room for text in batch],
                sampling,
                draws,
                lambda i, tokens, batch=batch: batch[i].ended(tokens),  # type: ignore[misc]
            )
            for text, own in zip(batch, tokens, strict=True):
                text.written = own
        return [self._generation(text) for text in texts]

    def take_up(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> int:
        """Take up one text per prompt; see `WritesOn`."""
        if self._writer is None:
            assert isinstance(self._reader, TreeReader)
            self._writer = ContinuousWriter(self._reader, lambda tokens: self._memory.texts(tokens, self.batch_size))
        return self._writer.add(self._texts(prompts, sampling, seed, written))

    def write_on(self) -> dict[int, list[Generation]]:
        """Go on by a token with every text; see `WritesOn`."""
        finished = {} if self._writer is None else self._writer.step()
        return {number: [self._generation(text) for text in texts] for number, texts in finished.items()}

    def _texts(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None
    ) -> list[Text]:
        """Prepare the texts to write, each with its own draws; one that is too long already has no room."""
        begun = [""] * len(prompts) if written is None else written
        ids = self._encode([self.as_input(prompt) + text for prompt, text in zip(prompts, begun, strict=True)])
        streams = random_streams([prompt + text for prompt, text in zip(prompts, begun, strict=True)], seed)
        return [
            Text(
                read=row,
                room=self._room(row, sampling.max_new_tokens),
                sampling=sampling,
                thoughts=(thoughts := self.thoughts.after(text)),
                ended=partial(self._ended, thoughts, sampling),
                draws=stream.random(sampling.max_new_tokens) if sampling.temperature > 0 else None,
            )
            for row, text, stream in zip(ids, begun, streams, strict=True)
        ]

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Compute the probability of each candidate as the next text, normalised over candidates.

        A candidate's probability is the product over its tokens; each candidate is tokenised by itself. All of them
        share the pass over prompt + written.

        Returns:
            Shape (len(prompts), len(candidates)), rows summing to 1; a row of NaN where the text is too long.
        """
        for text in written:
            self.thoughts.begins.after(text)  # refuses what would stand in the thought that the template opens
        texts = [self.as_input(prompt) + text for prompt, text in zip(prompts, written, strict=True)]
        ids = self._encode(texts)
        tokens = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in candidates]
        longest = max(map(len, tokens), default=0)
        batch_size = max(1, self._at_once(ids, longest) // self._reader.rows_per_text(tokens))
        scores = np.full((len(prompts), len(candidates)), np.nan)
        fits = [i for i, row in enumerate(ids) if self._room(row, longest) == longest]
        for rows in self._batches(ids, batch_size, fits):
            scores[rows] = self._reader.score([ids[i] for i in rows], tokens).double().cpu().numpy()
        weights: np.ndarray[Any, np.dtype[np.float64]] = np.exp(scores - scores.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def attention_to(
        self,
        prompts: Sequence[str],
        written: Sequence[str],
        answers: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]],
        layers: float = 0.5,
    ) -> list[list[float]]:
        """Measure the attention per token that parts of each prompt get while the model answers; see `AttentionProbe`.

        All positions except the querying ones are read with the model's ordinary attention. Only for the few querying
        ones the weights are computed. They equal those of one eager pass over everything, at a fraction of its memory.

        Raises:
            UserError: The tokenizer does not tell which characters a token covers, or the model returns no weights.
        """
        if not self.tokenizer.is_fast:
            raise _unmeasurable("its tokenizer does not tell which characters of the text a token covers")
        texts = [self.as_input(prompt) + text for prompt, text in zip(prompts, written, strict=True)]
        offsets = [_offset(prompt, text) for text, prompt in zip(texts, prompts, strict=True)]
        encoded = self._tokenized(texts, return_offsets_mapping=True)
        ids = encoded["input_ids"]
        ends = [self.tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers]
        queries = [[row[-1], *end[:-1]] for row, end in zip(ids, ends, strict=True)]
        parts = [
            [_covering(tokens, start + offset, end + offset) for start, end in mine]
            for tokens, mine, offset in zip(encoded["offset_mapping"], spans, offsets, strict=True)
        ]
        result: list[list[float]] = [[] for _ in prompts]
        was_training = self.model.training
        self.model.eval()
        try:
            for rows in self._batches(ids, self._at_once(ids, max(map(len, ends), default=0))):
                weights = self._attention([ids[i][:-1] for i in rows], [queries[i] for i in rows], layers)
                for i, row in zip(rows, weights, strict=True):
                    result[i] = [float(row[part].mean()) if len(part) else 0.0 for part in parts[i]]
        finally:
            self.model.train(was_training)
        return result

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _attention(
        self, ids: Sequence[Sequence[int]], queries: Sequence[Sequence[int]], layers: float
    ) -> list[np.ndarray[Any, Any]]:
        """Return the weights of each row's tokens, `ids` first: the mean over queries, heads and layers."""
        if isinstance(self._reader, TreeReader):
            return self._reader.attention(ids, queries, layers)
        if not self._padded.caches_by_row:
            raise _unmeasurable("it carries a state along instead of attending to what it read")
        _, mask, cache = self._padded.prefill(ids)
        most = max(map(len, queries))
        # Queries are padded on the right: a causal model's earlier tokens don't see the padding.
        tokens = torch.tensor([[*row, *[self._pad] * (most - len(row))] for row in queries], device=mask.device)
        real = torch.tensor([[1] * len(row) + [0] * (most - len(row)) for row in queries], device=mask.device)
        seen = torch.cat([mask, real], dim=1)  # (B, L + Q)
        with eager_attention(self.model):
            out = self.model(
                input_ids=tokens,
                attention_mask=seen,
                position_ids=(seen.cumsum(dim=1) - 1)[:, -most:],
                past_key_values=cache,
                use_cache=True,
                output_attentions=True,
            )
        if not out.attentions or any(weights is None for weights in out.attentions):
            raise _unmeasurable("its layers return no attention weights")
        chosen = out.attentions[-max(1, round(layers * len(out.attentions))) :]
        total = torch.zeros(seen.shape, device=mask.device, dtype=torch.float64)
        for weights in chosen:
            per_query = weights.double().mean(dim=1) * real[:, :, None]  # (B, Q, K)
            # A layer with a sliding window keeps the last keys only.
            total[:, -weights.shape[-1] :] += per_query.sum(dim=1) / real.sum(dim=1, keepdim=True)
        total /= len(chosen)
        return [row[-(len(own) + most) :].cpu().numpy() for row, own in zip(total, ids, strict=True)]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def encode(self, prompts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Average the last layer's hidden state (after its norm) over the tokens read; see `TextEncoder`.

        Only the decoder runs: no logits are computed, and no other layer's states are kept.

        Returns:
            Shape (len(prompts), D), float32.
        """
        refuse_long_prompts(self, prompts, 0)
        ids = self._encode([self.as_input(prompt) for prompt in prompts])
        encoded = np.empty((len(prompts), self.model.config.get_text_config().hidden_size), dtype=np.float32)
        # A state must not see padding.
        groups = [list(range(len(ids)))] if self._padded.caches_by_row else equal_lengths(ids)
        for rows in (rows for group in groups for rows in self._batches(ids, self._at_once(ids), group)):
            tokens, mask = self._padded.padded([ids[i] for i in rows])
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            decoder = self.model.get_decoder()
            out = decoder(input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=False)
            # What stands at a padded position is undefined: it is left out, not multiplied by zero.
            states = out.last_hidden_state.float().where(mask[:, :, None].bool(), 0.0)  # (B, L, D)
            encoded[rows] = (states.sum(dim=1) / mask.sum(dim=1, keepdim=True)).cpu().numpy()
        return encoded

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        encoded: list[list[int]] = self._tokenized(texts)["input_ids"] if texts else []
        return encoded

    def _tokenized(self, texts: Sequence[str], **options: Any) -> Any:
        return self._input.tokenized(texts, **options)

    @cached_property
    def _reader(self) -> TreeReader | PaddedReader:
        """What reads texts to continue them: nothing twice, where the model allows it."""
        if reads_in_trees(self.model):
            return TreeReader(self.model, self.cache_gb, packs=self._memory.packs)
        _say_padded(type(self.model).__name__)
        return self._padded

    def _room(self, ids: Sequence[int], tokens: int) -> int:
        """Count how many of so many tokens have a position after `ids`; 0 or less if `ids` do not fit themselves."""
        return tokens if self.positions is None else min(tokens, self.positions - len(ids))

    def _at_once(self, ids: Sequence[Sequence[int]], longer: int = 0) -> int:
        """Return how many texts go through the model at once, if each may get longer by so many tokens."""
        return self._memory.texts(max(map(len, ids), default=0) + longer, self.batch_size)

    @staticmethod
    def _batches(ids: Sequence[Sequence[int]], batch_size: int, among: Sequence[int] | None = None) -> list[list[int]]:
        """Group positions into batches of similar length, the longest first, so that memory peaks at the start."""
        order = sorted(range(len(ids)) if among is None else among, key=lambda i: (-len(ids[i]), i))
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def _ended(self, thoughts: TokenThoughts, sampling: Sampling, tokens: Sequence[int]) -> bool:
        """Tell whether a text is finished by what was written."""
        return tokens[-1] in self._ends or self._stopped(tokens, sampling.stop, thoughts)

    def _stopped(self, tokens: Sequence[int], stop: Sequence[str], thoughts: TokenThoughts) -> bool:
        if not stop:
            return False
        # A stop string of n characters lies within the last n tokens, and one more for a token cut at the front.
        tail = self.tokenizer.decode(tokens[-(max(map(len, stop)) + 1) :], skip_special_tokens=True)
        # What is drafted in a thought stops nothing.
        return any(text in tail for text in stop) and any(text in thoughts.split(tokens).text for text in stop)

    def _generation(self, text: Text) -> Generation:
        if text.room <= 0:
            return Generation("", 0, too_long=True)
        tokens, stop = text.written, text.sampling.stop
        ended = tokens[-1] in self._ends
        found = text.thoughts.split(tokens[:-1] if ended else tokens)
        ends = [found.text.find(string) + len(string) for string in stop if string in found.text]
        return Generation(
            found.text[: min(ends)] if ends else found.text,
            len(tokens),
            found.thought,
            too_long=len(tokens) == text.room < text.sampling.max_new_tokens and not ended,
        )


def _offset(prompt: str, text: str) -> int:
    """Find where a prompt begins in the text that the model reads; a template may have cut its outer white space."""
    return text.index(prompt.strip()) - (len(prompt) - len(prompt.lstrip()))


def _covering(tokens: Sequence[tuple[int, int]], start: int, end: int) -> list[int]:
    """Find the positions of the tokens that share a character with start..end; `tokens` are the tokens' own bounds."""
    return [i for i, (first, last) in enumerate(tokens) if first < end and last > start]


def _unmeasurable(reason: str) -> UserError:
    return UserError(
        f"this policy's attention can't be measured: {reason}",
        where="policy, attention",
        hint="take another policy, or leave out the metric or reward that needs the policy's attention",
    )


@cache
def _say_padded(architecture: str) -> None:
    """Say once in a process that texts are read anew: the results are the same, and take several times as long."""
    print(
        f"note: {architecture} can't read texts in trees (docs/large_policies.md, 'What is read once'): it reads every "
        "prompt anew for each text, and Stage II does not share a group's prompt",
        file=sys.stderr,
    )
