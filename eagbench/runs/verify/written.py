"""What methods wrote (`trajectories/*.jsonl`) agrees with their answers, and is read again by the strict reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.contracts.answers import NOT_ATTEMPTED, Trajectory
from eagbench.contracts.language_models import Thought
from eagbench.contracts.records import Case, Feature
from eagbench.prompting.answers import FeatureVocabulary, read_answer
from eagbench.prompting.prompt_specs import style_if_any
from eagbench.prompting.styles import Style
from eagbench.runs.predictions import Place, Rows
from eagbench.runs.verify.findings import TOLERANCE, DamagedError, Findings
from eagbench.runs.verify.table_files import read_json_lines

_KEYS = ("domain_train", "domain_eval", "seed", "condition", "severity", "case_id")
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "steps": (list,),
    "cited_features": (list, type(None)),
    "hallucinated_features": (int,),
    "probability": (float, int, type(None)),
    "generated_tokens": (int,),
    "attention": (dict, type(None)),
}


def check_written(
    folder: Path,
    method: str,
    answers: Mapping[Place, Mapping[str, Rows]],
    manifest: Mapping[str, Any],
    findings: Findings,
) -> None:
    """Check what a method wrote.

    Raises:
        DamagedError: A line is not what a run writes.
    """
    name = f"trajectories/{method}.jsonl"
    texts = _texts(folder / name, name)
    rows = {
        (train, target, seed, condition, _number(severity), row["case_id"]): row
        for ((_, train, target), (condition, severity)), seeds in answers.items()
        for seed, of_seed in seeds.items()
        for row in of_seed
    }
    if others := texts.keys() - rows.keys():
        raise DamagedError(f"{name} tells of cases or cells that were not asked: {', '.join(min(others))}")
    style = _style(method, manifest)
    if style is None and not texts:
        return
    vocabularies = _vocabularies(manifest)
    for key, row in rows.items():
        written = texts.get(key, [])
        problem = _disagreement(row, written)
        if problem is None and style is not None:
            vocabulary = vocabularies[row["domain_eval"]]
            if not all(_is_read(style, line, vocabulary, row["answer_mode"]) for line in written):
                problem = "the text says something else than was read from it"
            findings.count("texts read again", len(written))
        if problem is not None:
            findings.problems.append(
                f"{name}: case {row['case_id']}, seed {row['seed']}, {row['condition']}: {problem}"
            )
    n = sum(map(len, texts.values()))
    findings.count("texts that agree with their answers", n)
    if style is None:
        findings.leave_open("texts of a format that their method does not name", n)


def _texts(path: Path, name: str) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """Read the lines of a file by cell and case."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for i, line in enumerate(read_json_lines(path), start=1):
        other = [field for field, types in _FIELDS.items() if not isinstance(line.get(field, ...), types)]
        other += [key for key in _KEYS if not isinstance(line.get(key, ...), str | int | float | None)]
        if other or not all(isinstance(value, int | float) for value in (line["attention"] or {}).values()):
            raise DamagedError(f"{name}, line {i} is not what a run writes: {', '.join(other) or 'attention'}")
        keys = (_number(line[key]) if key == "severity" else str(line[key]) for key in _KEYS)
        found.setdefault(tuple(keys), []).append(line)
    return found


def _number(severity: Any) -> str:
    """Write a severity, which a perturbation may declare as a whole number, in one way."""
    return str(float(severity)) if isinstance(severity, int) else str(severity)


def _style(method: str, manifest: Mapping[str, Any]) -> Style | None:
    """Return the format of a method's answers, if its parameters name one."""
    params = next(m["params"] for m in manifest["methods"] if m["label"] == method)
    return style_if_any(params.get("style"))


def _vocabularies(manifest: Mapping[str, Any]) -> dict[str, FeatureVocabulary]:
    """Return the names by which an answer may cite what a record shows, by domain."""
    transfer = manifest["transfer"]
    shown: frozenset[str] | None = None
    if transfer["shared"] is not None and (
        manifest["benchmark"].get("domain_by") is not None or transfer["features"].get("text") == "shared"
    ):
        shown = frozenset(transfer["shared"]["features"])
    return {
        domain["name"]: FeatureVocabulary(
            Feature(f["name"], f["label"], f["unit"], (0.0, 1.0), synonyms=tuple(f["synonyms"]))
            for f in manifest["data"][domain["data"]]["features"]
            if shown is None or f["name"] in shown
        )
        for domain in transfer["domains"]
    }


def _disagreement(row: Mapping[str, Any], written: Sequence[Mapping[str, Any]]) -> str | None:
    """Say how an answer differs from what was written; None if it does not, or if the method alone knows."""
    mode = row["answer_mode"]
    if mode == NOT_ATTEMPTED:
        return "it was not asked, and there is a text or an answer" if written or row["parsed"] else None
    if mode not in {"greedy", "mean_of_n", "expectation"}:
        return None
    if not written or (mode != "mean_of_n" and len(written) > 1):
        return f"there are {len(written)} texts"
    read = [line["probability"] for line in written if line["probability"] is not None]
    if row["parsed"] != bool(read):
        return "it counts as read and was not, or was read and does not count"
    if read and abs(float(np.mean(read)) - row["probability"]) > TOLERANCE:
        return f"the answer is {row['probability']:g}, by the texts {float(np.mean(read)):g}"
    if row["cited_features"] != written[0]["cited_features"]:
        return "the answer cites other features than the text"
    attention = written[0]["attention"]
    if (None if row["attention"] is None else dict(row["attention"])) != attention:
        return "the answer has another attention than the text"
    return None


def _is_read(style: Style, line: Mapping[str, Any], vocabulary: FeatureVocabulary, mode: str) -> bool:
    """Say whether the strict reader reads from a text what is recorded of it."""
    recorded = {**line, "thought": line.get("thought", ""), "truncated_thought": line.get("truncated_thought", False)}
    if not isinstance(recorded["thought"], str):
        return False
    for found in _readings(style, recorded, vocabulary):
        read = {**found.as_json(), "thought": found.thought, "truncated_thought": found.truncated_thought}
        names = {"text", "steps", "cited_features", "hallucinated_features", "thought", "truncated_thought"}
        # The expectation is not in the text: it ends where the answer would begin.
        names |= set() if mode == "expectation" else {"probability"}
        if all(_as_lists(read[name]) == recorded[name] for name in names):
            return True
    return False


def _readings(style: Style, line: Mapping[str, Any], vocabulary: FeatureVocabulary) -> Iterator[Trajectory]:
    """Yield what may have been read: the model may have told its thought apart, or the reader did."""
    text, thought, tokens = line["text"], line["thought"], line["generated_tokens"]
    yield read_answer(style, _SOME_CASE, text, tokens, vocabulary)
    yield read_answer(style, _SOME_CASE, thought + text, tokens, vocabulary)
    yield read_answer(style, _SOME_CASE, text, tokens, vocabulary, Thought(thought, not line["truncated_thought"]))


def _as_lists(value: Any) -> Any:
    """Write tuples as JSON does."""
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value


# The reader takes nothing but its id from the case.
_SOME_CASE = Case("", "", (), np.zeros(0), np.zeros((0, 0), dtype=np.float32), {})
