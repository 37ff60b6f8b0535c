"""What `eagbench show` prints: a list of cases, and one case in full."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.analysis.cells import CLEAN_KEY
from eagbench.config.suggestions import nearest
from eagbench.contracts.records import Case, Cases, Feature
from eagbench.errors import UserError
from eagbench.report import wording
from eagbench.report.cases.selection import Selection, change, selected
from eagbench.runs.cases.answers import SettingCases, answer_table, rows_by_case, written_texts
from eagbench.runs.cases.past_stages import MissingStageError
from eagbench.runs.cases.records import CaseRecords, outside, record_changes
from eagbench.runs.reader import RunFolder

_BARS = "▁▂▃▄▅▆▇█"
_SHOWN_CHANGES = 12
_SHOWN_FEATURES = 10
_MARKS = {"low": "L", "high": "H", "": ""}


def list_text(run: RunFolder, cases: SettingCases, selection: Selection, most: int) -> str:
    """List the selected cases as a table, the worst first.

    Args:
        run: The run.
        cases: The cases of the setting to show.
        selection: Which of them.
        most: How many to print.
    """
    at = selected(cases, selection)
    is_changed = selection.condition != CLEAN_KEY
    moved = change(cases, selection)
    answers = cases.answers[selection.method, selection.condition]
    width = max([len(cases.case_id[i]) for i in at[:most]] + [4])
    others = [m for m in cases.methods if m != selection.method]
    heading = f"{'case':<{width}}  label  {'p':>6}" + (f"  {'change':>7}" if is_changed else "")
    lines = [_what(run, selection, len(at), len(cases)), "", f"{heading}  others on unchanged records"]
    for i in at[:most].tolist():
        shown = f"{answers.probability[i]:6.3f}" if answers.parsed[i] else "unread"
        shift = f"  {moved[i]:+7.3f}" if is_changed else ""
        rest = "  ".join(f"{m} {_number(cases, m, i)}" for m in others)
        lines.append(f"{cases.case_id[i]:<{width}}  {cases.label[i]:>5}  {shown}{shift}  {rest}")
    if len(at) > most:
        lines.append(f"and {len(at) - most:,} more (--limit)")
    if len(at):
        lines += ["", f"one of them in full: eagbench show {run.path} {cases.case_id[int(at[0])]}"]
    return "\n".join(lines)


def _what(run: RunFolder, selection: Selection, n: int, n_all: int) -> str:
    under = wording.condition_label(*selection.condition)
    order = "moved furthest first" if selection.condition != CLEAN_KEY else "furthest from the label first"
    which = {"all": "", "wrong": ", wrong", "unread": ", unread"}[selection.only]
    group = f", {selection.subgroup}" if selection.subgroup else ""
    stamp = "SYNTHETIC DATA. " if run.synthetic else ""
    return f"{stamp}{selection.method}, {under}{group}{which}: {n:,} of {n_all:,} cases, {order}"


def _number(cases: SettingCases, method: str, i: int) -> str:
    answers = cases.answers[method, CLEAN_KEY]
    if math.isnan(answers.probability[i]):
        return "-"
    return f"{answers.probability[i]:.3f}" if answers.parsed[i] else "unread"


def case_text(run: RunFolder, cases: SettingCases, selection: Selection, case_id: str, store: Path) -> str:
    """Print one case: answers of all methods, the record, the prompt, the answer step by step, what it cites.

    Args:
        run: The run.
        cases: The cases of the setting to show.
        selection: The method whose answer is shown in full, and the condition.
        case_id: The case.
        store: The store's folder.

    Raises:
        UserError: The setting has no such case.
    """
    if case_id not in cases.case_id:
        hint = nearest(case_id, cases.case_id) or f"there are {len(cases):,} cases, for example '{cases.case_id[0]}'"
        raise UserError(f"the run evaluated no case '{case_id}'", where="eagbench show", hint=hint)
    i = cases.case_id.index(case_id)
    groups = [name for name, members in cases.subgroups.items() if case_id in members]
    stamp = "SYNTHETIC DATA. " if run.synthetic else ""
    lines = [f"{stamp}case {case_id}: the label is {cases.label[i]}{''.join(f', {name}' for name in groups)}", ""]
    lines += _probabilities(cases, selection, i)
    records = CaseRecords(run.manifest, store)
    lines += ["", "Record", *_record(records, cases, selection, i)]
    lines += ["", f"Prompt of {selection.method}", *_prompt(records, cases, selection, i)]
    lines += ["", f"Answer of {selection.method}", *_answers(run, cases, selection, i)]
    lines += [f"note: {note}" for note in records.notes]
    return "\n".join(plain(line) for line in lines)


def _probabilities(cases: SettingCases, selection: Selection, i: int) -> list[str]:
    width = max(len(method) for method in cases.methods)
    under = wording.condition_label(*selection.condition)
    lines = []
    for method in cases.methods:
        answer = cases.answers.get((method, selection.condition))
        line = f"{method:<{width}}  {_number(cases, method, i)}"
        if selection.condition != CLEAN_KEY and answer is not None:
            shown = f"{answer.probability[i]:.3f}" if answer.parsed[i] else "unread"
            line += f"  under {under}: {shown}"
        lines.append(line)
    return ["Probability of each method, unchanged record, mean over seeds", *lines]


def _record(records: CaseRecords, cases: SettingCases, selection: Selection, i: int) -> list[str]:
    fold = int(cases.fold[i])
    try:
        whole = records.cases(cases.setting, CLEAN_KEY, fold)
        clean = _case(whole, cases.case_id[i])
        lines = list(record_lines(whole, clean))
        if selection.condition != CLEAN_KEY:
            changed = _case(records.cases(cases.setting, selection.condition, fold, selection.method), clean.case_id)
            lines += ["", f"Changed by {wording.condition_label(*selection.condition)}", *_changes(clean, changed)]
    except MissingStageError as error:
        return [f"not shown: {error}"]
    return lines


def _case(cases: Cases, case_id: str) -> Case:
    found: Case = cases[cases.case_ids.index(case_id)]
    return found


def record_lines(cases: Cases, case: Case) -> Iterator[str]:
    """Write a record: facts, then a line per observed feature with a small plot; H and L mark the reference range.

    Args:
        cases: Describes the features.
        case: The record.
    """
    yield ", ".join(_fact(name, value) for name, value in case.static.items() if not math.isnan(value))
    described = {feature.name: feature for feature in cases.features}
    for name in case.observed():
        feature, column = described[name], case.values[:, case.features.index(name)]
        seen = ~np.isnan(column)
        values = [float(value) for value in column[seen]]
        marked = [f"{value:g}{_MARKS[outside(value, feature.reference)]}" for value in values]
        shown = marked if len(marked) <= 8 else [*marked[:3], "...", *marked[-4:]]
        yield f"{_described(feature)}  {_spark(values)}  {' '.join(shown)}"


def _fact(name: str, value: float) -> str:
    return ("male" if value == 1 else "female") if name == "sex" else f"{name} {value:g}"


def _described(feature: Feature) -> str:
    """Write a feature with its unit and reference range, as far as it has them."""
    low, high = feature.reference
    known = [] if feature.unit == "1" else [feature.unit]
    if low is not None and high is not None:
        known.append(f"{low:g}" if low == high else f"{low:g}{wording.EN_DASH}{high:g}")
    elif low is not None or high is not None:
        known.append(f"up to {high:g}" if low is None else f"{low:g} and more")
    return f"{feature.label} ({', '.join(known)})" if known else feature.label


def _spark(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    step = (high - low) or 1.0
    return "".join(_BARS[min(7, int((value - low) / step * 8))] for value in values[-48:])


def _changes(clean: Case, changed: Case) -> list[str]:
    found = record_changes(clean, changed, _SHOWN_CHANGES)
    lines = list(found.summary) or ["nothing"]
    for c in found.values:
        before, after = ("none" if value is None else f"{value:g}" for value in (c.before, c.after))
        lines.append(f"  {c.feature} at {c.time:g} h: {before} -> {after}")
    more = found.n_values - len(found.values)
    return [*lines, f"  and {more:,} more values"] if more > 0 else lines


def _prompt(records: CaseRecords, cases: SettingCases, selection: Selection, i: int) -> list[str]:
    if selection.method not in records.text_methods:
        return ["it reads columns, so there is none"]
    try:
        found = records.prompt(
            cases.setting, selection.condition, int(cases.fold[i]), selection.method, cases.case_id[i]
        )
    except MissingStageError as error:
        return [f"not shown: {error}"]
    if found is None:
        return ["it asks the policy nothing about a case"]
    text, note = found
    return [*([f"({note})"] if note else []), *text.split("\n")]


def _answers(run: RunFolder, cases: SettingCases, selection: Selection, i: int) -> Iterator[str]:
    case_id, key = cases.case_id[i], selection.condition
    written = written_texts(run.path, selection.method, cases.setting, key, case_id).get(case_id, [])
    table = answer_table(run.path, selection.method, cases.setting, key)
    for row in rows_by_case(table, [case_id]).get(case_id, []):
        read = f"{row['probability']:.3f}" if row["parsed"] else f"unread, scored as {row['probability']:.3f}"
        yield f"seed {row['seed']}: {read} ({row['answer_mode']})"
        for text in (text for text in written if str(text["seed"]) == str(row["seed"])):
            yield from _written(text)
        yield from _alignment(row)


def _written(text: Mapping[str, Any]) -> Iterator[str]:
    if text.get("thought"):
        yield f"  thought: {text['thought'].strip()}"
    for number, (question, answer) in enumerate(text["steps"], start=1):
        yield f"  {number}. {question} -> {answer}"
    if not text["steps"] or text["probability"] is None:
        yield f"  wrote: {text['text']!r}"


def _alignment(row: Mapping[str, Any]) -> Iterator[str]:
    """Write what the answer cites and where the policy looked, beside the expert's weights."""
    salience, attention = dict(row["teacher_salience"] or ()), dict(row["attention"] or ())
    cited = row["cited_features"]
    if cited is not None:
        top = row["teacher_features"] or []
        yield f"  cites: {', '.join(f'{name}*' if name in top else name for name in cited) or 'nothing'}"
    if row["teacher_features"] is not None:
        yield f"  expert's top features{' (* above)' if cited else ''}: {', '.join(row['teacher_features'])}"
    ranked = sorted(salience.keys() | attention.keys(), key=lambda n: -(salience.get(n) or attention.get(n) or 0.0))
    for name in ranked[:_SHOWN_FEATURES] if attention else ():
        yield f"    {name:<28} expert {salience.get(name, 0.0):.3f}  attention {attention.get(name, 0.0):.3f}"


def plain(line: str) -> str:
    """Replace what could steer a terminal: records and models' texts are not to be trusted."""
    return "".join(c if c in "\n\t" or c.isprintable() else repr(c)[1:-1] for c in line)
