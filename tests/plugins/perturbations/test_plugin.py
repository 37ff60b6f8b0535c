from __future__ import annotations

import re
from pathlib import Path

from eagbench_plugins.perturbations import plugin

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "perturbations.md"


def registered() -> list[type]:
    found: list[type] = []
    plugin.register_perturbations(found.append)
    return found


def test_the_page_lists_every_perturbation_with_its_levels_and_readers() -> None:
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([\d. ]*)\|([^|]*)\|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {name: (tuple(map(float, levels.split())), set(readers.split(", "))) for name, levels, readers in (
        (name, levels.strip(), readers.strip()) for name, levels, readers in rows
    )}  # fmt: skip
    assert listed == {kind.name: (kind.traits.levels, set(kind.traits.applies_to)) for kind in registered()}


def test_text_alone_and_columns_alone() -> None:
    only = {reader: {k.name for k in registered() if k.traits.applies_to == {reader}} for reader in ("text", "columns")}
    assert only["columns"] == {"feature_order_positional"}
    names = {"feature_synonyms", "feature_abbreviations"}
    assert only["text"] == {"unit_change", "distractor_features", "prompt_wording", *names}
