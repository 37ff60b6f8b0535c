"""The page's own scripts, inline, and the hash by which its Content-Security-Policy allows them and no other."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup

from eagbench.report import tables
from eagbench.report.tables import Entry

THEME, TABLES = "theme.js", "tables.js"


@dataclass(frozen=True, slots=True)
class Script:
    """An inline script.

    Attributes:
        text: The code, to stand between the tags as it is.
        source: Its source expression for `script-src`.
    """

    text: Markup
    source: Markup


def inline_script(*names: str) -> Script:
    """Read scripts of this package as one inline script."""
    templates = files("eagbench.report.page") / "templates"
    code = "".join((templates / name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    # Both are this package's own: nothing of a run goes into them.
    return Script(Markup(code), Markup(f"'sha256-{digest}'"))


def sort_value(entry: Entry) -> Markup:
    """Write the number by which the page sorts a cell as its attribute; nothing for a cell without one."""
    value = tables.sort_value(entry)
    return Markup("") if value is None else Markup(f' data-value="{value:.9g}"')
