"""Writes cohort cards as text, Markdown or JSON."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

from eagbench.report.cohort_card.content import Card, Section

CardFormat = Literal["text", "md", "json"]
_NO_HINT = "none. That is no proof of the contrary: only what is listed above was asked."


def render(cards: Sequence[Card], form: CardFormat) -> str:
    """Write cards one below the other, or as one JSON list."""
    if form == "json":
        return json.dumps([_tree(card) for card in cards], indent=1)
    write = _markdown if form == "md" else _text
    return "\n\n\n".join(write(card) for card in cards)


def _tree(card: Card) -> dict[str, Any]:
    tree: dict[str, Any] = {"name": card.name, **{_key(name): cell.value for name, cell in card.facts}}
    for section in card.sections:
        tree[section.key] = [
            dict(zip(map(_key, section.columns), (cell.value for cell in row), strict=True)) for row in section.rows
        ]
    return {**tree, "hints": list(card.hints), "hints_looked_for_in": card.basis, "notes": list(card.notes)}


def _key(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower())


def _text(card: Card) -> str:
    lines = [card.name, ""]
    width = max(len(name) for name, _ in card.facts)
    lines += [_wrapped(f"{name:<{width}}  ", cell.text) for name, cell in card.facts]
    for section in card.sections:
        lines += ["", section.title, *(_aligned(section) if section.rows else ["nothing"])]
        lines += [_wrapped("", section.note)] if section.note else []
    lines += ["", f"Leak hints ({card.basis})"]
    lines += [_wrapped("- ", hint) for hint in card.hints] or [_wrapped("", _NO_HINT)]
    if card.notes:
        lines += ["", "Notes of the loader", *(_wrapped("- ", note) for note in card.notes)]
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> str:
    return textwrap.fill(text, 110, initial_indent=head, subsequent_indent=" " * len(head))


def _aligned(section: Section) -> list[str]:
    table = [section.columns, *([cell.text for cell in row] for row in section.rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    is_text = [all(isinstance(row[j].value, str) for row in section.rows) for j in range(len(widths))]
    return [
        "  ".join(
            f"{cell:<{width}}" if left else f"{cell:>{width}}"
            for cell, width, left in zip(row, widths, is_text, strict=True)
        ).rstrip()
        for row in table
    ]


def _markdown(card: Card) -> str:
    lines = [f"# {card.name}", "", *_rows(("", ""), [(name, cell.text) for name, cell in card.facts])]
    for section in card.sections:
        lines += ["", f"## {section.title}", ""]
        rows = [tuple(cell.text for cell in row) for row in section.rows]
        lines += _rows(section.columns, rows) if rows else ["Nothing."]
        lines += ["", section.note] if section.note else []
    lines += ["", "## Leak hints", "", f"Looked for in {card.basis}.", ""]
    lines += [f"- {hint}" for hint in card.hints] or [_NO_HINT]
    if card.notes:
        lines += ["", "## Notes of the loader", "", *(f"- {note}" for note in card.notes)]
    return "\n".join(lines)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    table = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
