"""Finds what a built site would load from another address; links that a reader follows are not among it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_LOADING = {"src", "srcset", "poster", "data", "background"}
_LOADING_LINKS = {
    "stylesheet",
    "preconnect",
    "preload",
    "prefetch",
    "dns-prefetch",
    "icon",
    "modulepreload",
    "manifest",
}
_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "link" and _LOADING_LINKS & set(given.get("rel", "").lower().split()):
            self._note(given.get("href", ""))
        for name in _LOADING & given.keys():
            self._note(given[name])
        # The theme fetches Mermaid's script where a page has a diagram.
        if "mermaid" in given.get("class", "").split():
            self.addresses.append("Mermaid's script")

    def _note(self, address: str) -> None:
        if _ELSEWHERE.match(address.strip()):
            self.addresses.append(address.strip())


def loaded_from_elsewhere(site: Path) -> Iterator[tuple[str, str]]:
    """Yield each page or style sheet of a built site with each address that it would load from elsewhere."""
    for path in sorted(site.rglob("*.html")):
        page = _Loads()
        page.feed(path.read_text(encoding="utf-8"))
        yield from ((str(path.relative_to(site)), address) for address in page.addresses)
    for path in sorted(site.rglob("*.css")):
        for address in _STYLE.findall(path.read_text(encoding="utf-8")):
            yield str(path.relative_to(site)), address
