"""The other names of features, and their fixed division into names to train with and names to test with.

A policy that learns to read other names is tested on names that it never met. The division is by a hash of the feature
and its names, so it is the same in every cohort and run. Each feature's synonyms, and its abbreviations, are dealt out
in turn. A feature with a single one has it in one of the parts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from eagbench.contracts.records import Case, Feature, Rendering
from eagbench.prompting.answers import FeatureVocabulary

NameKind = Literal["synonym", "abbreviation"]
NamePart = Literal["all", "train", "test"]

_LONGEST_ABBREVIATION = 8
_TRIES = 8  # a name of one letter has no other order
_SEPARATES_ANSWERS = re.compile(r"[,;\n]")


def is_abbreviation(name: str) -> bool:
    """Check whether a name is one short word with a capital letter, such as HR, SpO2, PaCO2 or HCO3-."""
    return len(name) <= _LONGEST_ABBREVIATION and " " not in name and any(letter.isupper() for letter in name)


def other_names(
    features: Sequence[Feature], kinds: Iterable[NameKind], part: NamePart = "all"
) -> dict[str, tuple[Rendering, ...]]:
    """Find other names of each feature among its label and its declared synonyms.

    Features without such a name are left out. Only names that an answer can cite are used: they name exactly one of the
    features and contain no list separator.

    Args:
        features: The features of a cohort.
        kinds: Names written out, abbreviations, or both.
        part: The names to train with, those to test with, or all.
    """
    known, wanted = FeatureVocabulary(features), set(kinds)
    found: dict[str, tuple[Rendering, ...]] = {}
    for feature in features:
        parts = _parts(feature)
        names = tuple(
            Rendering(name, feature.unit)
            for name in (feature.label, *feature.synonyms)
            if _kind(name) in wanted
            and name.casefold() in parts
            and part in ("all", parts[name.casefold()])
            and known.match(name) == feature.name
            and not _SEPARATES_ANSWERS.search(name)
        )
        if names:
            found[feature.name] = names
    return found


def under_other_names(case: Case, names: Mapping[str, Sequence[Rendering]], share: float, seed: int) -> Case:
    """Write a share of the features that have other names under one of them.

    With the same seed, a larger share renames at least those of a smaller one, alike.
    """
    able = sorted(name for name in case.features if name in names)
    rng = np.random.default_rng(seed)
    order, choice = rng.permutation(len(able)), rng.random(len(able))
    written = dict(case.renderings)
    for i in order[: round(share * len(able))]:
        others = names[able[i]]
        written[able[i]] = others[int(choice[i] * len(others))]
    return replace(case, renderings=written)


class TrainingNames:
    """Writes features under names to train with, drawn anew for each text.

    Some of these names name nothing: they are a name to train with, its letters in another order. So a policy learns
    to pass over what it can't read, and meets records that are as long as those under names it doesn't know.

    Args:
        features: The features of a cohort.
        share: Largest share of the features with such a name that a text shows under one; 0 changes no name.
        invented: Share of the changed names that name nothing.
    """

    def __init__(self, features: Sequence[Feature], share: float, invented: float = 0.0) -> None:
        self._names = other_names(features, ("synonym", "abbreviation"), "train") if share else {}
        self._share, self._invented = share, invented
        self._known = {name.casefold() for feature in features for name in _all_names(feature)}

    def __bool__(self) -> bool:
        """Check whether any name can be changed."""
        return bool(self._names)

    def draw(self, case: Case, rng: np.random.Generator) -> Case:
        """Write a share of the features under a name to train with: evenly between none and the largest share."""
        share = float(rng.uniform(0, self._share))
        drawn = under_other_names(case, self._names, share, int(rng.integers(2**32)))
        if not self._invented:
            return drawn
        written = {
            feature: self._scrambled(name, rng) if rng.random() < self._invented else name
            for feature, name in drawn.renderings.items()
        }
        return replace(drawn, renderings=written)

    def _scrambled(self, name: Rendering, rng: np.random.Generator) -> Rendering:
        """Put the letters of a name in an order that names nothing; the spaces stay."""
        words = name.name.split(" ")
        for _ in range(_TRIES):
            found = " ".join("".join(rng.permutation(list(word))) for word in words)
            if found.casefold() not in self._known:
                return replace(name, name=found)
        return name


def _all_names(feature: Feature) -> tuple[str, ...]:
    return (feature.name, feature.name.replace("_", " "), feature.label, *feature.synonyms)


def _kind(name: str) -> NameKind:
    return "abbreviation" if is_abbreviation(name) else "synonym"


def _parts(feature: Feature) -> dict[str, NamePart]:
    """Divide all declared names of a feature, whatever their case; its own name is in neither part."""
    own = feature.name.replace("_", " ").casefold()
    declared = {name.casefold(): _kind(name) for name in (feature.label, *feature.synonyms)}
    parts: dict[str, NamePart] = {}
    for kind in ("synonym", "abbreviation"):
        names = [name for name in declared if declared[name] == kind and name != own]
        first = _number(feature, kind) % 2
        for i, name in enumerate(sorted(names, key=lambda name: _number(feature, name))):
            parts[name] = "train" if (i + first) % 2 else "test"
    return parts


def _number(feature: Feature, text: str) -> int:
    return int(hashlib.sha256(f"{feature.name}: {text}".encode()).hexdigest(), 16)
