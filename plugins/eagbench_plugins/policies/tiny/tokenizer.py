"""The tiny policy's byte-pair tokenizer.

Words are split at white space and punctuation only, and include the space before them. So in the quantile form
` heart_rate@24h=q7` is one word and, after merges, one token: a small model otherwise spends its depth on binding names
to values. Each tag is its own token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from eagbench.api import ANSWER_LEVELS, STYLES, quiet_transformers

_WORDS = r"\s?[^\s,;:?!()<>]+|\s*[,;:?!()<>]|\s+"
_PAD = "<|pad|>"
_END = "<|end|>"


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> Any:
    """Train a byte-level BPE tokenizer.

    Args:
        texts: Serialised records and answers.
        vocabulary_size: Upper bound on the number of tokens, tags and special tokens included.

    Returns:
        A transformers tokenizer that decodes to exactly the text it encoded.
    """
    quiet_transformers()
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tags = list(dict.fromkeys(tag for style in STYLES.values() for tag in style.tags))
    at_tags = re.compile("|".join(map(re.escape, tags)))
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - len(tags) - 2,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Every level by default is a token, however few texts there are. Others (`answer: levels`) are of several.
    corpus = [piece for text in texts for piece in at_tags.split(text) if piece]
    corpus += [level for level in ANSWER_LEVELS for _ in range(max(2, len(corpus) // 20))]
    bpe.train_from_iterator(corpus, trainer)
    bpe.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in tags])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=_PAD, eos_token=_END, padding_side="left", clean_up_tokenization_spaces=False
    )
