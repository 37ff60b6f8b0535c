"""Say up front which methods gave many answers that could not be read, and show what they wrote instead."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from eagbench.analysis.cells import CLEAN
from eagbench.analysis.run_tables import ALL_CASES, MEAN_SEED
from eagbench.contracts.answers import NOT_ATTEMPTED
from eagbench.metrics.number_names import UNCORRECTED
from eagbench.metrics.unparsed import MANY_UNPARSED
from eagbench.report import wording
from eagbench.runs.predictions import has_predictions, predictions_path
from eagbench.runs.reader import RunFolder
from eagbench.stages.parquet_files import read_parquet

SHOWN_TEXTS = 3
_LONGEST = 600  # characters shown of a text


@dataclass(frozen=True, slots=True)
class Unread:
    """A method with many answers that could not be read.

    Attributes:
        method: Its label.
        share: The largest share of unparsed answers in one condition and pair of domains, over all seeds.
        condition: That condition, in words; empty for unchanged records.
    """

    method: str
    share: float
    condition: str

    @property
    def words(self) -> str:
        """The method and the share."""
        under = f" under {self.condition}" if self.condition else ""
        return f"{self.method} ({wording.percent(self.share)}{under})"


# Every caption of a page asks.
@functools.lru_cache(maxsize=1)
def unread(run: RunFolder) -> tuple[Unread, ...]:
    """Find the methods more than `MANY_UNPARSED` of whose answers could not be read, on any records."""
    counted: dict[tuple[str, str, float | None, str, str], Counter[str]] = {}
    for row in run.results:
        group = row.group
        is_whole = (group.calibration, group.subgroup) == (UNCORRECTED, ALL_CASES)
        if not is_whole or row.seed == MEAN_SEED or row.metric != run.metrics[0]:
            continue
        place = (row.method, row.condition, row.severity, group.domain_train, group.domain_eval)
        counted.setdefault(place, Counter()).update(unparsed=row.n_unparsed, cases=row.n_cases)
    worst: dict[str, Unread] = {}
    for (method, condition, severity, *_), n in counted.items():
        share = n["unparsed"] / n["cases"] if n["cases"] else 0.0
        where = "" if condition == CLEAN else wording.condition_label(condition, severity)
        if share > MANY_UNPARSED and (method not in worst or share > worst[method].share):
            worst[method] = Unread(method, share, where)
    return tuple(worst[method] for method in run.methods if method in worst)


def warning(run: RunFolder) -> str:
    """Return the words that open every table if many answers could not be read; empty if none or few."""
    found = unread(run)
    return f"UNPARSED ANSWERS: {', '.join(method.words for method in found)}." if found else ""


def explanation(run: RunFolder) -> str:
    """Explain the warning in a paragraph; empty without one."""
    found = unread(run)
    if not found:
        return ""
    text = (
        f"More than {wording.percent(MANY_UNPARSED)} of the answers of {wording.enumeration([m.words for m in found])} "
        "could not be read. Each of them is scored with the training prevalence, so the numbers of such a method say "
        "little about it; a method without a single answer that could be read has no numbers."
    )
    for method in found:
        modes = _modes(run, method.method)
        if modes[NOT_ATTEMPTED]:
            asked = modes.total() - modes[NOT_ATTEMPTED]
            text += (
                f" {method.method}: none of the cases asked first got an answer that could be read, so "
                f"{wording.count(modes[NOT_ATTEMPTED])} of {wording.count(modes.total())} cases were not attempted "
                f"({wording.count(asked)} were asked)."
            )
    return text


def _modes(run: RunFolder, method: str) -> Counter[str]:
    if not has_predictions(run.path, method):
        return Counter()
    return Counter(read_parquet(predictions_path(run.path, method), ["answer_mode"])["answer_mode"].to_pylist())


def example_texts(run: RunFolder, method: str) -> list[str]:
    """Return the first `SHOWN_TEXTS` texts of a method that could not be read, on unchanged records if possible."""
    path = run.path / "trajectories" / f"{method}.jsonl"
    if not path.is_file():
        return []
    for clean_only in (True, False):
        found = list(islice(_unread_texts(path, clean_only=clean_only), SHOWN_TEXTS))
        if found:
            return found
    return []


def _unread_texts(path: Path, *, clean_only: bool) -> Iterator[str]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            written = json.loads(line)
            if written["probability"] is None and (written["condition"] == CLEAN or not clean_only):
                text = str(written["text"])
                yield text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def terminal_lines(run: RunFolder) -> list[str]:
    """Return what the terminal says about such methods, with example texts; nothing if there are none."""
    lines = [explanation(run)] if unread(run) else []
    for method in unread(run):
        texts = example_texts(run, method.method)
        if texts and run.is_credentialed:
            # A terminal is copied, recorded and looked at: a text may repeat what the record says.
            lines.append(f"{method.method}: what it wrote is in trajectories/{method.method}.jsonl")
        elif texts:
            lines.append(f"{method.method} wrote, for example:")
            lines += [f"  {number}. {text!r}" for number, text in enumerate(texts, start=1)]
    return lines
