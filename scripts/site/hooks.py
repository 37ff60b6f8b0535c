"""What mkdocs does beyond its own: pages from the code, GitHub's Markdown, MathML, a check of what pages load."""

from __future__ import annotations

import logging
from pathlib import Path

import commonmark
import formulas
import offline
import pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
# Pages whose text is beside docs/: links lead from the repository's top, and to it.
BESIDE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}

_log = logging.getLogger("mkdocs.hooks")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that follow from the code, and those whose text is beside docs/."""
    for path, text in pages.generated().items():
        files.append(File.generated(config, path, content=text))
    for source, path in BESIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn GitHub's Markdown into Python-Markdown's, and links to pages beside docs/ into links to their copies."""
    del config, files
    top = "../" * page.file.src_uri.count("/")
    for source, path in BESIDE.items():
        markdown = markdown.replace(f"]({top}../{source}", f"]({top}{path}").replace(f"]({source}", f"]({path}")
    markdown = markdown.replace("](README.md)", "](index.md)") if page.file.src_uri in BESIDE.values() else markdown
    return commonmark.with_blank_lines(markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write formulas as MathML, which browsers draw without a script."""
    del config, files
    try:
        return formulas.as_mathml(html)
    except formulas.FormulaError as error:
        _log.warning("%s: %s", page.file.src_uri, error)
        return html


def on_post_build(config: MkDocsConfig) -> None:
    """Warn, which fails a strict build, of whatever a page would load from another address."""
    for place, address in offline.loaded_from_elsewhere(Path(config.site_dir)):
        _log.warning("%s loads %s", place, address)
