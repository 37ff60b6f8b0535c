"""Time how long Chromium takes to open the page of cases from a file, beside the report of the same run.

    python speed/case_page.py RUN [--rounds 7]

RUN holds report.html and cases.html (`eagbench report RUN --cases`). Both are opened in turn, each in a browser of its
own with an empty profile, and timed from the start of the navigation until the loaded page has been drawn. Prints the
ratio of the medians, the range of the rounds' ratios, and the size of the index.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PAGES = ("report.html", "cases.html")
DRAWN = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(performance.now()))))"


class Browser:
    """A headless Chromium with an empty profile, driven through its debugging pipe."""

    def __init__(self, program: str, profile: str) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-quic"]
        command += [f"--user-data-dir={profile}", "--window-size=1400,900", "--remote-debugging-pipe"]
        # Chromium reads commands from descriptor 3 and answers on descriptor 4.
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "chromium", *command], pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        self._begun = b""

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._begun:
            read = os.read(self._in, 1 << 16)
            if not read:
                sys.exit("Chromium ended before it answered")
            self._begun += read
        message, self._begun = self._begun.split(b"\0", 1)
        return dict(json.loads(message))

    def ask(self, number: int, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events on the way are passed over."""
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            pass
        if "error" in answer:
            sys.exit(f"Chromium: {answer['error']}")
        return dict(answer["result"])

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)


def opened(program: str, page: Path) -> float:
    """Return the milliseconds from the start of the navigation until the loaded page has been drawn."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        target = browser.ask(1, "Target.createTarget", url="about:blank")["targetId"]
        session = browser.ask(2, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        browser.ask(3, "Page.navigate", session, url=page.resolve().as_uri())
        loaded = "document.readyState === 'complete' && location.protocol === 'file:'"
        number = 4
        while not browser.ask(number, "Runtime.evaluate", session, expression=loaded)["result"].get("value"):
            number += 1
            time.sleep(0.002)
        drawn = browser.ask(number + 1, "Runtime.evaluate", session, expression=DRAWN, awaitPromise=True)
        browser.close()
    return float(drawn["result"]["value"])


def main() -> None:
    """Open both pages in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("Chromium is not installed")
    times: dict[str, list[float]] = {name: [] for name in PAGES}
    for number in range(args.rounds):
        for name in PAGES if number % 2 else PAGES[::-1]:
            times[name].append(opened(browser, args.run / name))
    report, cases = (times[name] for name in PAGES)
    ratios = [c / r for r, c in zip(report, cases, strict=True)]
    index = (args.run / "cases" / "index.js").stat().st_size
    print(f"report.html {statistics.median(report):.0f} ms, cases.html {statistics.median(cases):.0f} ms (medians)")
    ratio = statistics.median(cases) / statistics.median(report)
    print(f"ratio {ratio:.2f}; rounds {min(ratios):.2f} to {max(ratios):.2f}")
    print(f"index {index / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
