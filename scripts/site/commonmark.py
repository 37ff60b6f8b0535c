"""The one difference between GitHub's Markdown and Python-Markdown that the docs rely on.

On GitHub a list or a table may follow a line of text directly; Python-Markdown then reads it as part of the paragraph.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r" {0,3}(```|~~~)")
_ITEM = re.compile(r"([-*] |1\. )\S")
_TABLE_RULE = re.compile(r"\|?\s*:?-+:?\s*\|[\s|:-]*$")


def with_blank_lines(markdown: str) -> str:
    """Put a blank line before lists and tables that follow a line of text."""
    lines = markdown.split("\n")
    written: list[str] = []
    in_code = in_list = False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if _FENCE.match(line):
            in_code = not in_code
        elif not in_code and line.strip():
            after_text = bool(written and written[-1].strip())
            is_item = bool(_ITEM.match(line))
            begins_table = line.startswith("|") and bool(_TABLE_RULE.match(following))
            if after_text and (begins_table or (is_item and not in_list)):
                written.append("")
            # An item's further lines are indented, or follow it without a blank line.
            in_list = is_item or (in_list and not line.startswith("#") and (after_text or line.startswith(" ")))
        written.append(line)
    return "\n".join(written)
