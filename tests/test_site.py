"""The documentation site: complete pages from the code, GitHub's Markdown as it is there, nothing from elsewhere."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from eagbench.registry.listing import KINDS
from eagbench.registry.plugins import load_registry
from tests.conftest import ROOT, Finished


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of scripts/site, as mkdocs does."""
    monkeypatch.syspath_prepend(ROOT / "scripts" / "site")
    return importlib.import_module


def test_every_component_and_each_of_its_parameters_has_its_place(site: Callable[[str], ModuleType]) -> None:
    pages = site("pages").generated()
    registry = load_registry()
    for kind in KINDS:
        for name in registry.names(kind):
            page = pages[f"reference/{kind}.md"]
            section = re.split(r"^## ", page.split(f"\n## {name}\n")[1], flags=re.MULTILINE)[0]
            for key in registry.get(kind, name).component.Params.model_fields:
                assert f"| `{key}` |" in section, f"{kind} {name}: {key}"


def test_every_command_is_described_as_its_help_describes_it(
    site: Callable[[str], ModuleType], cli: Callable[..., Finished]
) -> None:
    page = site("pages").command_line()
    sections = re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", page, flags=re.MULTILINE)
    words = {name for name, _ in sections}
    assert {"run", "plan", "verify", "plugins list", "data check", "store check"} <= words
    for name, section in sections:
        shown = cli(*name.split(), "--help").out
        assert set(re.findall(r"--[a-z][a-z-]+", shown)) - {"--help"} <= set(re.findall(r"--[a-z][a-z-]+", section)), (
            name
        )


def test_every_key_of_a_benchmark_says_what_it_means(site: Callable[[str], ModuleType]) -> None:
    page = site("pages").benchmark().split("\n## ")[0]
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert {"| `data`", "| `methods`", "| `seeds`"} <= {row[0] for row in rows}
    assert not [row[0] for row in rows if not row[-1].strip(" |")]


def test_everything_that_a_plugin_may_import_is_described(site: Callable[[str], ModuleType]) -> None:
    import eagbench.api

    page = site("pages").api()
    for name in eagbench.api.__all__:
        assert re.search(rf"^::: [\w.]+\.{name}$|`{name}`", page, flags=re.MULTILINE), name


@pytest.mark.parametrize(
    ("github", "python_markdown"),
    [
        ("Text:\n- one\n- two", "Text:\n\n- one\n- two"),
        ("- one\n  more\n- two", "- one\n  more\n- two"),
        ("- one\n\nText\n- two", "- one\n\nText\n\n- two"),
        ("Text\n| a | b |\n|---|---|\n| 1 | 2 |", "Text\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
        ("```\ntext\n- no list\n```", "```\ntext\n- no list\n```"),
        ("Text\n-5 degrees", "Text\n-5 degrees"),
    ],
)
def test_lists_and_tables_may_follow_a_line_of_text(
    site: Callable[[str], ModuleType], github: str, python_markdown: str
) -> None:
    assert site("commonmark").with_blank_lines(github) == python_markdown


def test_what_a_page_would_load_from_elsewhere_is_found(site: Callable[[str], ModuleType], tmp_path: Path) -> None:
    (tmp_path / "fine.html").write_text(
        '<a href="https://example.org">read</a><img src="a.png"><script src="b.js"></script>'
    )
    (tmp_path / "page.html").write_text(
        '<script src="https://a.example/x.js"></script><link rel="stylesheet" href="//b.example/y.css">'
        '<img src="http://c.example/z.png"><pre class="mermaid">graph</pre>'
    )
    (tmp_path / "style.css").write_text("@font-face { src: url(https://d.example/f.woff2) }")
    assert list(site("offline").loaded_from_elsewhere(tmp_path)) == [
        ("page.html", "https://a.example/x.js"),
        ("page.html", "//b.example/y.css"),
        ("page.html", "http://c.example/z.png"),
        ("page.html", "Mermaid's script"),
        ("style.css", "https://d.example/f.woff2"),
    ]


def test_formulas_become_mathml(site: Callable[[str], ModuleType]) -> None:
    pytest.importorskip("latex2mathml", reason="the extra `docs` is not installed")
    formulas = site("formulas")
    written = formulas.as_mathml(r'<p><span class="arithmatex">\(p &lt; 1\)</span> and <code>\(x\)</code></p>')
    assert re.search(r"<math[^>]*><mrow><mi>p</mi><mo>&(lt|#x0003C);</mo><mn>1</mn></mrow></math>", written), written
    assert r"<code>\(x\)</code>" in written
    with pytest.raises(formulas.FormulaError, match="left"):
        formulas.as_mathml(r'<div class="arithmatex">\[\left( 1\]</div>')
