"""Texts that a model may write and YAML that a user may: read without an exception, never as a number outside [0, 1].

The texts are made of the styles' own tags, numbers in many spellings and foreign characters, or are well-formed answers
with a few edits.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eagbench.config.loading import read_benchmark, validate_benchmark
from eagbench.config.yaml_source import Source, apply_set
from eagbench.contracts.records import Case, Feature
from eagbench.errors import UserError
from eagbench.prompting.answers import FeatureVocabulary, answer_text, read_answer, text_up_to_answer, write_answer
from eagbench.prompting.styles import STYLES, Style
from eagbench.prompting.thoughts import FROM_SERVER, NO_THOUGHT, PLAIN, TAGS, TEMPLATE_OPENS, ThoughtFormat
from tests.reliability.rows import Row

SMALL, FULL = 5_000, 1_000_000
_ONE_YAML_IN = 100
_TOLD = 20  # of what went wrong, so many are told
FEATURES = tuple(
    Feature(name, label, "1", (0.0, 1.0), (None, None), synonyms)
    for name, label, synonyms in (
        ("heart_rate", "Heart rate", ("HR", "pulse")),
        ("ph", "pH", ()),
        ("lactate", "Lactate", ("lac",)),
    )
)
CASE = Case("case", "patient", ("heart_rate",), np.zeros(0), np.zeros((0, 1), dtype=np.float32), {})
FORMATS = (
    PLAIN,
    NO_THOUGHT,
    FROM_SERVER,
    TEMPLATE_OPENS,
    ThoughtFormat("<|channel|>"),
    *(ThoughtFormat(c) for _, c in TAGS),
)
PIECES = (
    *sorted({tag for style in STYLES.values() for tag in style.tags}),
    *(part for tags in TAGS for part in tags),
    *("<|channel|>", "<|message|>", "<|start|>assistant", "<|end|>", "analysis", "assistantfinal", "final"),
    *("<|constrain|>"),
    *("0.35", ".5", "1", "1.", "1.0000", "0", "0.", "-0.1", "1.1", "35%", "35", "1e-3", "0,5", "\u0660.\u0665"),
    *("\uff10.\uff13", "½", "nan"),
    *("inf", "1e999", "0." + "9" * 400, "9" * 5_000, "0x1", "+0.5", "0.5.5", "<", ">", "</", "<answer"),
    *("answer>", "<<answer>>"),
    *(" ", "\n", "\t", "\r\n", "\0", "\x1b[31m", "\u202e", "\u200b", "\ufeff", "\ud800", "\U0001f600", "ß"),
    *("İ", "é", "é"),
    *("heart_rate", "Heart rate", "hr", "PULSE", "pH", "lac", "glucose", ",", ";", "*", "- ", "`", "'", '"'),
    *("[", "]", "{}"),
    *("The patient", "Subquestion 1:", "probability", "$", "\\", "(?", "a" * 300),
)  # fmt: skip


def _text(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return "".join(rng.choices(PIECES, k=rng.randrange(1, 25)))
    style = rng.choice(list(STYLES.values()))
    pairs = [("Is lactate high?", "It is.")] * rng.randrange(3)
    probability = rng.choice((0.0, 1.0, rng.random(), 10 ** -rng.uniform(0, 320)))
    text = rng.choice(("", "<think> hm </think>\n")) + write_answer(style, pairs, ("ph", "HR"), probability, "Dead?")
    for _ in range(rng.randrange(4)):
        begin = rng.randrange(len(text) + 1)
        text = text[:begin] + rng.choice(("", rng.choice(PIECES))) + text[begin + rng.randrange(6) :]
    return text


def _wrong(style: Style, begins: ThoughtFormat, text: str, names: FeatureVocabulary) -> str | None:
    """Read a text, and say what is wrong with what was read."""
    thought, rest = begins.split(text)
    if ("" if thought is None else thought.text) + rest != text:
        return "the thought and the rest are not the text"
    read = read_answer(style, CASE, rest, 3, names, thought)
    answer_text(style, rest, thought), text_up_to_answer(style, rest, thought), begins.closed(text)
    probability = read.probability
    if probability is not None and not (math.isfinite(probability) and 0 <= probability <= 1):
        return f"the probability {probability!r}"
    if not {*(read.cited_features or ())} <= {feature.name for feature in FEATURES}:
        return f"the features {read.cited_features}"
    if read != read_answer(style, CASE, rest, 3, names, thought):
        return "another answer the second time"
    return None


def _texts(times: int, rng: random.Random) -> Row:
    names, lost, parsed = FeatureVocabulary(FEATURES), [], 0
    styles = list(STYLES.values())
    for _ in range(times):
        style, begins, text = rng.choice(styles), rng.choice(FORMATS), _text(rng)
        try:
            wrong = _wrong(style, begins, text, names)
            parsed += read_answer(style, CASE, text, 3, names).probability is not None
        except Exception as error:  # noqa: BLE001 - none is allowed
            wrong = f"{type(error).__name__}: {error}"
        if wrong is not None and len(lost) < _TOLD:
            lost.append(f"{wrong} ({style.name}, {text[:80]!r})")
    what = f"read, {parsed / times:.0%} of them with a probability; no exception, no number outside [0, 1]"
    return Row("texts through the answer's reader", times, what, tuple(lost))


def _long_texts(rng: random.Random) -> Row:
    """Read one piece repeated: 8 times the length takes some 8 times as long, not 64."""
    names, lost, times = FeatureVocabulary(FEATURES), [], 0
    for piece in PIECES:
        unit = piece + rng.choice(PIECES)
        for style in STYLES.values():
            times += 1
            # The best of three: a garbage collection in a large process takes half a second.
            short, long = (min(_seconds(style, unit * n, names) for _ in range(3)) for n in (200, 1_600))
            if long > 30 * short + 0.05:
                lost.append(f"{unit[:40]!r} in {style.name}: {long:.2f} s after {short:.3f} s")
    return Row("one piece 1,600 times over", times, "read in a time that grows like the length", tuple(lost))


def _seconds(style: Style, text: str, names: FeatureVocabulary) -> float:
    started = time.process_time()
    for begins in FORMATS:
        thought, rest = begins.split(text)
        read_answer(style, CASE, rest, 3, names, thought)
    return time.process_time() - started


YAML_PIECES = (
    *("a", "name: x", "data:", "methods: [lightgbm]", "metrics: [auroc]", "extends: ", "- ", ": ", "\n", "  "),
    *("[", "]", "{"),
    *("}", ",", "&a ", "*a", "<<: *a", "!!int ", "!!float ", "!!python/name:os.x ", "!x ", "? ", "| ", "> "),
    *("'", '"', "\\"),
    *("1:30", "010", ".inf", "1.0e999", "9" * 5_000, "2020-01-31", "2001-99-99", "~", "yes", "0x", "0b2", "_"),
    *("=", "%YAML"),
    *("---", "...", "#", "${X}", "${HOME:-1}", "${X:-[}", "\\0", '"\\ud800"', '"\\UFFFFFFFF"', "\0", "\ud800"),
    *("é", "\t", "@"),
)  # fmt: skip


def _yaml(times: int, rng: random.Random, folder: Path) -> Row:
    good = "name: x\ndata: {name: tjh, root: y}\nmethods: [lightgbm]\nmetrics: [auroc]\nseeds: [0, 1]\n"
    path, lost, refused = folder / "b.yaml", [], 0
    for _ in range(times):
        text = _edited(good, YAML_PIECES, rng) if rng.random() < 0.7 else "".join(rng.choices(YAML_PIECES, k=12))
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        for read in (
            lambda: validate_benchmark(read_benchmark(path)),
            lambda t=text: apply_set(Source(tree={"m": ["x", {"name": "y"}], "d": {}}), t),
        ):
            try:
                read()
            except UserError:
                refused += 1
            except Exception as error:  # noqa: BLE001 - no other is allowed
                lost.append(f"{type(error).__name__}: {error} ({text[:200]!r})")
    what = f"a benchmark, or an input error ({refused / times / 2:.0%})"
    return Row("YAML of a benchmark and values of --set", 2 * times, what, tuple(lost[:_TOLD]))


def _edited(text: str, pieces: Sequence[str], rng: random.Random) -> str:
    for _ in range(rng.randrange(1, 5)):
        begin = rng.randrange(len(text) + 1)
        text = text[:begin] + rng.choice(pieces) + text[begin + rng.choice((0, 0, 1, 5)) :]
    return text


def measure(times: int, seed: int, folder: Path) -> list[Row]:
    """Read so many texts, and a hundredth as many YAML files."""
    rng = random.Random(seed)
    return [_texts(times, rng), _long_texts(rng), _yaml(max(times // _ONE_YAML_IN, 1), rng, folder)]
