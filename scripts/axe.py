"""Check pages with axe-core in Chromium, wide and narrow, light and dark; exit 1 if it finds anything.

In an environment of its own: pip install axe-playwright-python, then python scripts/axe.py report.html cases.html, or
a single case as `cases.html#e/0/ID`, the fragment of its link.

A page is opened from its file, with everything unfolded. It must request nothing but files, log no error, and
be no wider than the window.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

WIDTHS, SCHEMES = (1400, 420), ("light", "dark")


def problems(browser: Browser, page: str, width: int, scheme: Any) -> Iterator[str]:
    """Open a page, by its path and perhaps a fragment, and say what is wrong with it."""
    code = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    # Only axe-core needs the page's Content-Security-Policy out of its way.
    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme, bypass_csp=True)
    tab = context.new_page()
    said: list[str] = []
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    path, mark, fragment = page.partition("#")
    tab.goto(Path(path).resolve().as_uri() + mark + fragment)
    tab.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    tab.wait_for_timeout(500)
    yield from said
    if (found := tab.evaluate("document.documentElement.scrollWidth")) > width:
        yield f"{found} pixels wide"
    tab.evaluate(code)
    for violation in tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]:
        node = violation["nodes"][0]
        yield f"{violation['id']}, {len(violation['nodes'])} times: {node['html'][:200]}\n  {node['failureSummary']}"
    context.close()


def main() -> None:
    """Check every page that the command line names."""
    failed = False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in sys.argv[1:]:
            for width in WIDTHS:
                for scheme in SCHEMES:
                    found = list(problems(browser, name, width, scheme))
                    failed = failed or bool(found)
                    print(f"{name}, {width} px, {scheme}: {len(found)} problems", *found, sep="\n  ", flush=True)
        browser.close()
    sys.exit(failed)


if __name__ == "__main__":
    main()
