"""TF-IDF of prompts: what a word is in a record, and the fitted columns.

A word is, in any form of record,
- a number as it is written (`37.2`, `-1.5`), also before a flag and in a list or run of numbers;
- a flag behind a number (`L`, `H`, `N`), so that `57L` and `57 L` give the same two words;
- anything else between white space, commas, colons, semicolons, brackets, `=` and `@`: a name (`heart_rate`), one word
  of a name that is written with spaces, a quantile (`q7`), a unit (`10^9/L`, whose L is no flag).

Case counts, because `L` is not `l`. Runs of words hold what single words lose: `lactate 3.5`, `3.5 H`, `lactate q9`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from eagbench.api import FloatArray, load_arrays, save_arrays

_SPLITS = r"\s,;:=()@<>"
_NUMBER = rf"-?\d+(?:\.\d+)?(?=[LHN]?(?:[{_SPLITS}]|\.\.|\.?$|\.\s))"
_FLAG = rf"(?<=\d)[LHN](?=[{_SPLITS}]|$)"
_OTHER = rf"[^{_SPLITS}.?](?:[^{_SPLITS}?]*[^{_SPLITS}.?])?"
WORD = rf"{_NUMBER}|{_FLAG}|{_OTHER}"

# A term of one training case alone tells nothing about others.
MIN_CASES = 2
_TERMS, _WEIGHTS = "terms.json", "weights.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class PromptWords:
    """Fitted TF-IDF columns: T terms, each a word or a run of words.

    A text's column is the term's count times its inverse document frequency ln((1 + N) / (1 + N_t)) + 1, and a text's
    columns have length 1 (scikit-learn's defaults).

    Attributes:
        terms: The terms, sorted.
        inverse_frequency: Inverse document frequency of each term, shape (T,).
        max_words: Longest run of words that is a term.
    """

    terms: tuple[str, ...]
    inverse_frequency: FloatArray
    max_words: int

    @classmethod
    def fit(cls, texts: Sequence[str], max_words: int) -> Self:
        """Find the terms of at least two texts, and their inverse document frequencies.

        Args:
            texts: Prompts of N training cases.
            max_words: Longest run of words that is a term.
        """
        vectorizer = _vectorizer(max_words, min_df=MIN_CASES).fit(texts)
        return cls(tuple(map(str, vectorizer.get_feature_names_out())), np.asarray(vectorizer.idf_), max_words)

    def columns(self, texts: Sequence[str]) -> Any:
        """Compute the columns of texts: a SciPy sparse array, shape (len(texts), T)."""
        vectorizer = _vectorizer(self.max_words, vocabulary=list(self.terms))
        vectorizer.idf_ = self.inverse_frequency
        return vectorizer.transform(texts)

    def save(self, folder: Path) -> None:
        """Write `terms.json` and `weights.safetensors`."""
        (folder / _TERMS).write_text(json.dumps(self.terms, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
        save_arrays(folder / _WEIGHTS, {"inverse_frequency": self.inverse_frequency}, {"max_words": self.max_words})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        terms = json.loads((folder / _TERMS).read_text(encoding="utf-8"))
        arrays, about = load_arrays(folder / _WEIGHTS)
        return cls(tuple(terms), arrays["inverse_frequency"], int(about["max_words"]))


def _vectorizer(max_words: int, **options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(lowercase=False, token_pattern=WORD, ngram_range=(1, max_words), **options)
